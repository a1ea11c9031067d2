"""How long it takes to get 50 features of one candidate, and of a hundred, against Feast and against plain Redis.

``python -m benchmarks.features`` starts a real Redis. Each way answers the same question in the same process, in turn:

- **ours**: `RedisFeatureStore.read`, from opportunities to the table of features. It fetches the states of the keyword, ad group,
  campaign and account, lets them fade up to the instant asked, and computes 50 numbers, the keyword's drawn towards those above;
- **ours, busy**: the same where facts of the last minute wait to be taken in, second by second;
- **Feast on Redis**, **Feast on SQLite**: ``get_online_features(…).to_dict()`` of an ordinary feature view of 50 numbers;
- **hashes**: a pipeline of ``HMGET``, one hash of 50 fields a candidate, its texts turned into an array;
- **packed**: one ``MGET`` of 50 float64 a candidate, read as an array.

All but ours hand back finished numbers as somebody put them there, which are as old as that. Figures are milliseconds: the median
of the rounds, and in brackets the least and the greatest. A ratio is one of medians in the same round.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from benchmarks.servers import RedisServer
from bidloop.adapters.redis.feature_store import RedisFeatureStore
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.signals import Entity, Ratio
from bidloop.features.view import FeatureView, RateFeature, RateValue

CANDIDATES = 100
FEATURES = 50
SIZES = (1, CANDIDATES)
PAGE = 5_000
MARKS: tuple[tuple[str, float], ...] = (("hashes", 0.10), ("packed", 2.0))
"""What a hundred candidates may cost us, as a share of what they cost another way."""
SLOWEST_MS = 50.0
"""What the slowest of a hundred requests may take, on every store."""

Way = Callable[[int], object]

_KEY = ("campaign_id", "ad_group_id", "keyword")
_NEEDED: tuple[RateValue, ...] = ("ctr", "conversion_rate", "impressions")
_PAIRS = {
    "ctr": ("clicks", "impressions"),
    "conversion_rate": ("conversions", "clicks"),
    "cpa": ("cost", "conversions"),
    "cpc": ("cost", "clicks"),
    "roas": ("value", "cost"),
    "impression_share": ("impressions", "eligible_impressions"),
    "quality_score": ("quality_points", "quality_impressions"),
    "bid_level": ("bid_total", "bids"),
    "cpm": ("cost", "impressions"),
    "value_per_click": ("value", "clicks"),
    "conversions_per_impression": ("conversions", "impressions"),
}
_SPANS = {"1h": 1 / 24, "1d": 1.0, "7d": 7.0, "30d": 30.0}

VIEW = FeatureView(
    name="benchmark",
    cyclic=(),
    resolution_seconds=1.0,
    rates=(
        RateFeature(name="account", key=(), parent="", values=_NEEDED),
        RateFeature(name="cell", key=_KEY, values=_NEEDED),
    ),
    entities=(
        Entity(name="campaign", key=_KEY[:1], parent="account"),
        Entity(name="ad_group", key=_KEY[:2], parent="campaign"),
        Entity(name="keyword", key=_KEY, parent="ad_group"),
    ),
    signals=tuple(
        Ratio(
            name=f"{name}_{span}",
            entity="keyword",
            numerator=over,
            denominator=under,
            over_days=days,
            strength_in="denominator",
        )
        for name, (over, under) in _PAIRS.items()
        for span, days in _SPANS.items()
    ),
)
assert len(VIEW.numeric_names) == FEATURES
_FURTHER = ("eligible_impressions", "quality_points", "quality_impressions", "bids", "bid_total")


def candidates(at: datetime) -> list[Opportunity]:
    """A hundred keywords in twenty ad groups of five campaigns."""
    return [
        Opportunity(opportunity_id=str(i), at=at, campaign_id=f"c{i % 5}", ad_group_id=f"g{i % 20}", keyword=f"k{i}")
        for i in range(CANDIDATES)
    ]


def facts(n: int, newest: timedelta, oldest: timedelta, rng: np.random.Generator) -> Observations:
    """What was seen of the candidates, at random, between so long ago and so long ago."""
    now = datetime.now(UTC)
    about = candidates(now)
    ago = rng.uniform(newest.total_seconds(), oldest.total_seconds(), n)

    def amount() -> np.ndarray:
        return rng.gamma(2.0, 3.0, n)

    return Observations(
        at=np.datetime64(now.replace(tzinfo=None), "us") - (ago * 1e6).astype("timedelta64[us]"),
        opportunities=[about[i] for i in rng.integers(0, CANDIDATES, n)],
        impressions=amount(),
        clicks=amount(),
        conversions=amount(),
        value=amount(),
        cost=amount(),
        further={name: amount() for name in _FURTHER},
    )


def run(rounds: int, requests: int, seed: int = 1) -> dict[str, dict[int, list[tuple[float, float]]]]:
    """Median and 99th percentile in milliseconds, of each way by number of candidates, one pair per round."""
    rng = np.random.default_rng(seed)
    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        values = rng.gamma(2.0, 3.0, (CANDIDATES, FEATURES))
        on_redis = {"type": "redis", "connection_string": f"{urlsplit(server.url).netloc},db=1"}
        on_sqlite = {"type": "sqlite", "path": f"{folder}/online.db"}
        with (
            _ours(server.url, rng, busy=False) as ours,
            _ours(server.url, rng, busy=True) as busy,
            _plain(server.url, values) as (hashes, packed),
            _feast(Path(folder) / "redis", on_redis, values) as feast,
            _feast(Path(folder) / "sqlite", on_sqlite, values) as sqlite,
        ):
            ways: dict[str, Way] = {
                "ours": ours, "ours, busy": busy, "Feast on Redis": feast, "Feast on SQLite": sqlite,
                "hashes": hashes, "packed": packed,
            }  # fmt: skip
            times: dict[str, dict[int, list[tuple[float, float]]]] = {
                name: {size: [] for size in SIZES} for name in ways
            }
            gc.collect()
            gc.freeze()  # or the collector looks through all that Feast imported, now in this way's time and now in that one's
            for _ in range(rounds):
                for size in SIZES:
                    for name, way in ways.items():
                        times[name][size].append(_timed(partial(way, size), requests))
            gc.unfreeze()
    return times


def _timed(work: Callable[[], object], requests: int) -> tuple[float, float]:
    for _ in range(max(requests // 10, 3)):
        work()
    seconds = np.empty(requests)
    for i in range(requests):
        started = time.perf_counter()
        work()
        seconds[i] = time.perf_counter() - started
    return float(np.median(seconds) * 1e3), float(np.quantile(seconds, 0.99) * 1e3)


@contextmanager
def _ours(url: str, rng: np.random.Generator, *, busy: bool) -> Iterator[Way]:
    store = RedisFeatureStore(VIEW, url, prefix=f"bench:{busy}")
    for _ in range(10):
        store.observe(facts(PAGE, timedelta(minutes=3), timedelta(days=30), rng))
    if busy:
        store.observe(facts(10 * CANDIDATES, timedelta(0), timedelta(seconds=50), rng))
    asked = candidates(datetime.now(UTC))

    def read(size: int) -> object:
        return store.read(asked[:size])

    assert all(np.isfinite(column).all() for column in store.read(asked).numeric.values())
    yield read
    store.close()


@contextmanager
def _plain(url: str, values: np.ndarray) -> Iterator[tuple[Way, Way]]:
    names = [f"feature_{i}" for i in range(FEATURES)]
    with redis.Redis.from_url(url, protocol=2) as client:
        for i, row in enumerate(values):
            client.hset(f"bench:hash:{i}", mapping=dict(zip(names, row.tolist(), strict=True)))
            client.set(f"bench:packed:{i}", row.tobytes())

        def hashes(size: int) -> object:
            pipeline = client.pipeline(transaction=False)
            for i in range(size):
                pipeline.hmget(f"bench:hash:{i}", names)
            return np.array([[float(text) for text in row] for row in pipeline.execute()])

        def packed(size: int) -> object:
            found: Any = client.mget([f"bench:packed:{i}" for i in range(size)])
            return np.frombuffer(b"".join(found), dtype="<f8").reshape(size, FEATURES)

        assert np.array_equal(hashes(CANDIDATES), values)  # type: ignore[arg-type]
        assert np.array_equal(packed(CANDIDATES), values)  # type: ignore[arg-type]
        yield hashes, packed


@contextmanager
def _feast(folder: Path, online: dict[str, str], values: np.ndarray) -> Iterator[Way]:
    import pandas as pd  # these take seconds to import
    import pyarrow as pa
    import pyarrow.parquet as pq
    from feast import Entity as FeastEntity
    from feast import FeatureStore, Field, FileSource, RepoConfig, ValueType
    from feast import FeatureView as FeastView
    from feast.types import Float64

    folder.mkdir()
    names = [f"feature_{i}" for i in range(FEATURES)]
    at = datetime.now(UTC)
    rows = pd.DataFrame(values, columns=names)
    rows["keyword"], rows["event_timestamp"] = [f"k{i}" for i in range(CANDIDATES)], at
    columns = {
        **dict.fromkeys(names, pa.float64()),
        "keyword": pa.string(),
        "event_timestamp": pa.timestamp("us", "UTC"),
    }
    schema = pa.schema(list(columns.items()))
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False).cast(schema), folder / "features.parquet")
    config = RepoConfig(
        project="bench",
        provider="local",
        registry={"registry_type": "file", "path": str(folder / "registry.db"), "cache_ttl_seconds": 3600},
        online_store=online,
        offline_store={"type": "file"},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    keyword = FeastEntity(name="keyword", join_keys=["keyword"], value_type=ValueType.STRING)
    view = FeastView(
        name="keyword_features",
        entities=[keyword],
        ttl=timedelta(days=365),
        schema=[Field(name=name, dtype=Float64) for name in names],
        source=FileSource(path=str(folder / "features.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([keyword, view])
    store.write_to_online_store("keyword_features", rows)
    features = [f"keyword_features:{name}" for name in names]
    entities = [{"keyword": f"k{i}"} for i in range(CANDIDATES)]

    def read(size: int) -> Any:
        return store.get_online_features(features=features, entity_rows=entities[:size]).to_dict()

    assert np.array_equal(np.array([read(CANDIDATES)[name] for name in names]).T, values)
    yield read


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def _report(times: dict[str, dict[int, list[tuple[float, float]]]], console: Console) -> None:
    for size in SIZES:
        table = Table(title=f"{size} x {FEATURES} features, ms")
        for name in ("way", "p50", "p99", "ours to it", "busy to it"):
            table.add_column(name, justify="left" if name == "way" else "right", no_wrap=True)
        for name, by_size in times.items():
            found = by_size[size]
            ratios = [_spread(_ratios(times, mine, name, size)) for mine in ("ours", "ours, busy")]
            table.add_row(name, _spread([p50 for p50, _ in found]), _spread([p99 for _, p99 in found]), *ratios)
        console.print(table)
    for peer, most in MARKS:
        for mine in ("ours", "ours, busy"):
            ratio = statistics.median(_ratios(times, mine, peer, CANDIDATES))
            console.print(
                f"{mine} to {peer}, {CANDIDATES} candidates: {ratio:.2f}, mark {most:g}: {_met(ratio <= most)}"
            )
    for name, by_size in times.items():
        slowest = statistics.median([p99 for _, p99 in by_size[CANDIDATES]])
        console.print(
            f"{name}, {CANDIDATES} candidates: p99 {slowest:.1f} ms, mark {SLOWEST_MS:g}: {_met(slowest < SLOWEST_MS)}"
        )


def _met(reached: bool) -> str:
    return "met" if reached else "missed"


def _ratios(times: dict[str, dict[int, list[tuple[float, float]]]], mine: str, peer: str, size: int) -> list[float]:
    return [own / other for (own, _), (other, _) in zip(times[mine][size], times[peer][size], strict=True)]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=300, help="of each kind in a round")
    parser.add_argument("--smoke", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    times = run(1, 3) if arguments.smoke else run(arguments.rounds, arguments.requests)
    if arguments.json:
        print(json.dumps(times))
    else:
        _report(times, Console(width=120))


if __name__ == "__main__":
    main()
