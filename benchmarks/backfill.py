"""Every feature as of each row's own instant: ours against Feast on a real log, and five million events in bounded memory.

``python -m benchmarks.backfill [--ipinyou FOLDER] [--rows 50000] [--patience SECONDS]`` takes the iPinYou log (sampled
impressions, all clicks and conversions) and asks for so many of its impressions, drawn uniformly, by three ways:

- **ours, DuckDB**: the expression of `bidloop.adapters.ibis`, with facts and questions written to Parquet first;
- **ours, in memory**: `bidloop.features.training.point_in_time`;
- **Feast**: `get_historical_features` of the same state columns, from Parquet files that hold the state of each entity after each
  fact, one Feast view for each entity, by the offline store ``duckdb`` that comes with it. Its files are made outside of the
  time. Feast pairs each question with every state of its entity, so where few entities see many facts it may not come
  back: each view has `--patience` seconds, 8 GB of memory and 20 GB on disk.

``python -m benchmarks.backfill --events 5000000`` makes a log of so many events (`benchmarks.large_log`), as the history's part
files, without the way through the database, and times the rest: parts → joined observations → facts → states → rows. The peak
is that of the whole process; DuckDB may use `--memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.feast_peer import Retrieval, retrieve
from benchmarks.large_log import write_log
from bidloop.adapters.ibis.backfill import write_backfill
from bidloop.adapters.ibis.engine import DuckDBEngine, states_query
from bidloop.adapters.ibis.rows import read_states, table_of, write_rows
from bidloop.adapters.ibis.tables import write_facts, write_questions
from bidloop.adapters.ipinyou.reader import read_events
from bidloop.adapters.ipinyou.view import ipinyou_view
from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.core.outcome import Outcomes
from bidloop.events.rejected import Rejected
from bidloop.features.contributions import contributions
from bidloop.features.keys import absences, entity_keys
from bidloop.features.local_time import microseconds
from bidloop.features.planning import plan_of
from bidloop.features.signal_sets import calendar_signals, campaign_signals, chosen, user_signals, with_signals
from bidloop.features.signals import Age, Latest, Ratio, Recency, Total
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view

SIGNALS = (
    "ctr_1d", "ctr_7d", "conversion_rate_30d", "cpc_7d", "roas_30d", "budget_utilisation_1d", "campaign_age",
    "campaign_recency", "user_page_views_1d", "user_page_views_30d", "user_frequency_30d", "user_propensity", "user_recency",
    "is_weekend", "year_sin",
)  # fmt: skip
MARK_GB = 4.0


def wide_view() -> FeatureView:
    """The campaign view with signals of campaigns, users and the calendar."""
    return chosen(with_signals(campaign_view(), campaign_signals(), user_signals(), calendar_signals()), SIGNALS)


def rebuild(folder: Path, memory: str, threads: int) -> dict[str, float]:
    """Seconds of each step from the part files to the rows, how much there was, and the peak memory of the process."""
    engine = open_database(folder / "decisions.db")
    history = ParquetHistory(folder / "history", MemoryEventLog(), SqlDecisionLog(engine))
    steps: dict[str, float] = {}
    since, step = time.perf_counter(), "joining the history"

    def tell(doing: str, share: float) -> None:
        nonlocal since, step
        now = time.perf_counter()
        steps[step] = steps.get(step, 0.0) + now - since
        since, step = now, doing

    told = history.spool(folder, memory=memory, threads=threads)
    tell("reading what became known", 0.0)
    output = folder / "rows.parquet"
    facts = write_backfill(wide_view(), told, output, folder, memory=memory, threads=threads, on_progress=tell)
    engine.dispose()
    tell("", 1.0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    features, seconds = len(wide_view().numeric_names), sum(steps.values())
    found = {"facts": facts, "rows": told.outcomes_count, "features": features, "seconds": seconds, "peak_gb": peak}
    return found | steps


class Agreement(msgspec.Struct, frozen=True):
    """Seconds of each way over the same rows, and how far the values lie apart at most (absolute, or relative above 1).

    Parameters
    ----------
    states, rows
        Ours by DuckDB: from facts in memory to the states, and on to rows of features in a file.
    in_memory
        Ours by `point_in_time`, to a table in memory.
    apart
        Largest difference of a feature by the two.
    feast, feast_apart
        What came of each of Feast's views, and the largest difference of a state from ours.
    ours
        Seconds of the expression alone, for each entity.
    """

    asked: int
    facts: int
    states: float
    rows: float
    in_memory: float
    apart: float
    feast: list[Retrieval]
    feast_apart: float
    ours: dict[str, float]


def ipinyou_signals() -> FeatureView:
    """The view of the log, with signals of each kind that it tells of."""
    return msgspec.structs.replace(
        ipinyou_view(),
        signals=(
            Ratio(name="slot_cost", entity="slot", numerator="cost", denominator="impressions", over_days=7.0, strength=20.0,
                  strength_in="denominator"),
            Ratio(name="url_ctr_1d", entity="url", numerator="clicks", denominator="impressions", over_days=1.0, cap=1.0),
            Total(name="campaign_cost_1d", entity="campaign", amount="cost", over_days=1.0),
            Total(name="creative_clicks_ever", entity="creative", amount="clicks"),
            Latest(name="slot_price", entity="slot", amount="market_price", max_age_days=3.0),
            Recency(name="since_click", entity="domain", amount="clicks"),
            Age(name="creative_age", entity="creative", amount="impressions"),
        ),
    )  # fmt: skip


def compare(
    log: Path,
    rows: int,
    patience: float,
    folder: Path,
    memory: str,
    threads: int,
    entities: Sequence[str] = (),
) -> Agreement:
    """All ways over the same rows of the iPinYou log; Feast for some of the entities, or for all."""
    view = ipinyou_signals()
    plan = plan_of(view)
    events = MemoryEventLog()
    told = [event for event in read_events(log) if not isinstance(event, Rejected)]
    events.append(told)
    engine = open_database(folder / "decisions.db")
    history = ParquetHistory(folder / "history", events, SqlDecisionLog(engine))
    history.sync()
    observations = history.observations()
    spool = history.spool(folder / "spool", sample=(rows, 0), memory=memory, threads=threads)
    engine.dispose()
    outcomes = list(spool.outcomes())
    opportunities = [one for some in outcomes for one in some.opportunities]

    started = time.perf_counter()
    table = point_in_time(view, observations, opportunities)
    in_memory = time.perf_counter() - started

    started = time.perf_counter()
    known = contributions(plan, observations)
    keys, asked = entity_keys(plan, opportunities), microseconds(opportunities, view.lag_seconds)
    facts, questions = folder / "facts.parquet", folder / "questions.parquet"
    write_facts(plan, [known], facts)
    span = write_questions(plan, [(asked, keys)], questions)
    scan = DuckDBEngine(facts, questions, memory=memory, threads=threads, spilled=folder / "spilled")
    files: list[Path] = []
    ours: dict[str, float] = {}
    for i in range(len(plan.entities)):
        before = time.perf_counter()
        files.append(folder / f"states{i}.parquet")
        scan.write(states_query(plan, i, span), files[-1])
        ours[plan.entities[i].name] = time.perf_counter() - before
    scan.close()
    states = time.perf_counter() - started
    [found] = read_states(plan.entities, files, len(asked))
    mine = table_of(plan, opportunities, found, absences(keys))
    write_rows(view, [(joined_outcomes(outcomes), mine)], folder / "rows.parquet")
    whole = time.perf_counter() - started

    feast, feast_apart = [], 0.0
    for i, entity in enumerate(plan.entities if patience else ()):
        if not entities or entity.name in entities:
            retrieval, theirs = retrieve(plan, i, known, asked, keys[i], folder, patience)
            feast.append(retrieval)
            if theirs is not None:
                feast_apart = max(feast_apart, apart(found[i], theirs))
    return Agreement(
        len(asked), len(known), states, whole, in_memory,
        max(apart(mine.numeric[name], column) for name, column in table.numeric.items()), feast, feast_apart, ours,
    )  # fmt: skip


def joined_outcomes(outcomes: Sequence[Outcomes]) -> Outcomes:
    """Chunks of outcomes as one."""
    names = ("impression_id", "at", "impressions", "clicks", "conversions", "value", "cost", "weight", "mature")
    columns = {name: np.concatenate([getattr(one, name) for one in outcomes]) for name in names}
    return Outcomes(opportunities=[one for some in outcomes for one in some.opportunities], **columns)


def apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference, relative to values above 1; infinite where one knows a value and the other does not."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        difference = np.where(same, 0.0, np.abs(one - other) / np.maximum(np.abs(other), 1.0))
    return float(np.where(np.isnan(difference), np.inf, difference).max(initial=0.0))


def show_agreement(found: Agreement) -> None:
    """Print the comparison."""
    table = Table(title=f"{found.asked:,} rows of the iPinYou log as of their own instants, from {found.facts:,} facts")
    for column in ("way", "seconds"):
        table.add_column(column, justify="left" if column == "way" else "right")
    table.add_row("ours, DuckDB: to states", f"{found.states:.2f}")
    table.add_row("ours, DuckDB: to rows of features in a file", f"{found.rows:.2f}")
    table.add_row("ours, in memory (point_in_time)", f"{found.in_memory:.2f}")
    console = Console()
    console.print(table)
    console.print(f"largest difference between the two: {found.apart:.1e}")
    if not found.feast:
        return
    peers = Table(title="Feast, state columns of one entity after the other")
    for column in ("entity", "states", "pairs by key", "Feast, s", "ours, s", "ratio"):
        peers.add_column(column, justify="left" if column == "entity" else "right")
    for one in found.feast:
        ours, back = found.ours[one.entity], one.seconds is not None
        told = f"{one.seconds:.2f}" if back else one.why
        ratio = f"{one.seconds / ours:.0f}" if one.seconds is not None else ""
        peers.add_row(one.entity, f"{one.states:,}", f"{one.pairs:,}", told, f"{ours:.2f}", ratio)
    console.print(peers)
    pairs = [(one.seconds, found.ours[one.entity]) for one in found.feast if one.seconds is not None]
    if pairs:
        theirs, ours = sum(one for one, _ in pairs), sum(one for _, one in pairs)
        console.print(f"where Feast came back: {theirs:.1f} s against {ours:.1f} s, {theirs / ours:.0f} times as long")
    console.print(f"largest difference of a state: {found.feast_apart:.1e}")


def show_rebuild(found: dict[str, float]) -> None:
    """Print what the large log took."""
    table = Table(title=f"{found['events']:,.0f} events, of them {found['facts']:,.0f} facts, to {found['rows']:,.0f} rows of "
                        f"{found['features']:.0f} numeric features")  # fmt: skip
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, value in found.items():
        if name not in ("events", "facts", "rows", "features", "seconds", "peak_gb"):
            table.add_row(name, f"{value:.1f}")
    table.add_row("all", f"{found['seconds']:.1f}", style="bold")
    console = Console()
    console.print(table)
    kept = "kept" if found["peak_gb"] < MARK_GB else "missed"
    console.print(f"peak memory of the whole process: {found['peak_gb']:.2f} GB (mark: {MARK_GB:.0f} GB, {kept})")


def default_log() -> Path:
    root = Path(os.environ.get("BIDLOOP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return root / "ipinyou_season2"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ipinyou", type=Path, default=default_log())
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--patience", type=float, default=120.0, help="seconds for each Feast view; 0 leaves Feast out")
    parser.add_argument("--events", type=int, default=0, help="a log of so many events instead")
    parser.add_argument("--memory", default="2GB", help="what DuckDB may use")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bidloop-backfill-") as name:
        folder = Path(name)
        if arguments.events:
            (folder / "history").mkdir()
            write_log(folder / "history", arguments.events)
            found = rebuild(folder, arguments.memory, arguments.threads)
            found["events"] = arguments.events
            print(json.dumps(found)) if arguments.json else show_rebuild(found)
            return
        agreement = compare(
            arguments.ipinyou, arguments.rows, arguments.patience, folder, arguments.memory, arguments.threads
        )
        print(msgspec.json.encode(agreement).decode()) if arguments.json else show_agreement(agreement)


if __name__ == "__main__":
    main()
