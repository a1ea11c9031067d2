"""The peer of `benchmarks.backfill`: the same state columns by Feast's own historical retrieval, one Feast view for each entity."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bidloop.adapters.feast.history import running_states
from bidloop.adapters.feast.steps import in_steps
from bidloop.features.contributions import Contributions
from bidloop.features.keys import Keys
from bidloop.features.plan import EntityPlan, Plan

GB, DISK_GB = 8, 20
"""Memory and temporary room that one retrieval may take."""
AT, KEY, AS_OF = "event_timestamp", "key", "as_of"
_UTC = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Retrieval:
    """What came of one Feast view.

    Parameters
    ----------
    entity, states
        Which one, and how many states its file holds.
    pairs
        Of a question and an earlier or later state of its entity: what a join by key alone goes through.
    seconds
        How long the retrieval took; `None` where it did not come back.
    why
        Then, why.
    """

    entity: str
    states: int
    pairs: int
    seconds: float | None
    why: str = ""


def write_past(plan: Plan, i: int, known: Contributions, path: Path) -> int:
    """Write the state of each entity after each of its facts, as Feast's file sources want it; says how many."""
    entity = plan.entities[i]
    rows, inputs = known.to(plan, i)
    keys = [str(known.keys[i][row]) for row in rows.tolist()]
    names, group = np.unique(keys, return_inverse=True)
    group, due, inputs = in_steps(entity, group.astype(np.int64), known.due[rows], inputs)
    states = running_states(entity, group, due, inputs)
    columns = {KEY: pa.array(names[group].tolist()), AT: pa.array(due, _UTC), AS_OF: pa.array(due)}
    columns |= {f"s{c}": pa.array(states[:, c]) for c in range(entity.width)}
    pq.write_table(pa.table(columns), path)
    return len(due)


def retrieve(
    plan: Plan, i: int, known: Contributions, asked: Sequence[int], keys: Keys, folder: Path, patience: float
) -> tuple[Retrieval, NDArray[np.float64] | None]:
    """The states of one entity at n instants by Feast, in a process of its own; `None` where it does not come back."""
    entity, past = plan.entities[i], folder / f"past{i}.parquet"
    states = write_past(plan, i, known, past)
    of_key = dict(zip(*np.unique(pq.read_table(past)[KEY].to_numpy(), return_counts=True), strict=True))
    pairs = sum(int(of_key.get(key, 0)) for key, _ in set(zip(keys, asked, strict=True)))
    ask = pa.table({KEY: pa.array(keys, pa.string()), AT: pa.array(asked, _UTC)})
    pq.write_table(ask.group_by([KEY, AT]).aggregate([]), folder / f"asked{i}.parquet")
    process = multiprocessing.get_context("spawn").Process(target=_retrieve, args=(folder, i, entity.width))
    process.start()
    process.join(patience + 30)  # Feast takes some seconds to be imported and set up
    late = process.is_alive()
    if late:
        process.kill()
        process.join()
    note = folder / f"seconds{i}.json"
    if not note.exists():
        why = f"not back after {patience:.0f} s" if late else f"out of room ({GB} GB, and {DISK_GB} GB on disk)"
        return Retrieval(entity.name, states, pairs, None, why), None
    found = _faded(entity, asked, keys, pq.read_table(folder / f"found{i}.parquet"))
    return Retrieval(entity.name, states, pairs, json.loads(note.read_text())), found


def _retrieve(folder: Path, i: int, width: int) -> None:
    """In a process of its own: what Feast takes it would not give back."""
    for stream in (1, 2):  # warnings and progress bars that are not ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    import feast
    import ibis
    from feast.repo_config import RegistryConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    # Feast takes Ibis's own connection: this one knows its limits, and spills what is more.
    limits = {"memory_limit": f"{GB - 2}GB", "temp_directory": str(folder / f"spilled{i}"), "threads": 2}
    ibis.set_backend(ibis.duckdb.connect(**limits, max_temp_directory_size=f"{DISK_GB}GB"))
    resource.setrlimit(resource.RLIMIT_AS, (GB * 2**30, GB * 2**30))
    name = f"entity{i}"
    registry = RegistryConfig(registry_type="file", path=str(folder / f"registry{i}.db"), cache_ttl_seconds=0)
    store = feast.FeatureStore(
        config=feast.RepoConfig(
            project="peer",
            provider="local",
            registry=registry,
            online_store={"type": "sqlite", "path": str(folder / f"online{i}.db")},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
    entity = feast.Entity(name=name, join_keys=[KEY], value_type=ValueType.STRING)
    names = [f"s{c}" for c in range(width)]
    schema = [feast.Field(name=AS_OF, dtype=Int64), *(feast.Field(name=one, dtype=Float64) for one in names)]
    source = feast.FileSource(name=f"{name}_file", path=str(folder / f"past{i}.parquet"), timestamp_field=AT)
    view = feast.FeatureView(name=name, entities=[entity], ttl=timedelta(0), schema=schema, source=source)
    store.apply([entity, view])
    ask = pq.read_table(folder / f"asked{i}.parquet").to_pandas()
    started = time.perf_counter()
    job = store.get_historical_features(entity_df=ask, features=[f"{name}:{one}" for one in (AS_OF, *names)])
    found = job.to_arrow()
    seconds = time.perf_counter() - started
    pq.write_table(found, folder / f"found{i}.parquet")
    (folder / f"seconds{i}.json").write_text(json.dumps(seconds))


def _faded(entity: EntityPlan, asked: Sequence[int], keys: Keys, found: pa.Table) -> NDArray[np.float64]:
    """The states that Feast found, gone on to the instants that were asked for."""
    at = found[AT].cast(_UTC).cast(pa.int64()).to_pylist()
    place = {pair: row for row, pair in enumerate(zip(found[KEY].to_pylist(), at, strict=True))}
    columns = [found[f"s{c}"].to_numpy() for c in range(entity.width)]
    rows = np.array([place[pair] for pair in zip(keys, asked, strict=True)])
    states, as_of = np.column_stack(columns)[rows], found[AS_OF].to_numpy()[rows]
    unknown = np.isnan(as_of.astype(np.float64))
    passed = np.where(unknown, 0.0, np.array(asked, dtype=np.float64) - as_of)[:, None]
    states[:, entity.sums] *= np.exp2(-passed * entity.per_us)
    return np.where(unknown[:, None], entity.empty, states)
