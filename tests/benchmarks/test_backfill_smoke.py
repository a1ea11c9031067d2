"""The backfill benchmark runs, on little, and keeps what it promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks import backfill
from benchmarks.large_log import write_log
from bidloop.adapters.memory.event_log import MemoryEventLog
from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.features.training import point_in_time


def test_the_large_log_is_rebuilt_to_the_values_in_memory(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    write_log(tmp_path / "history", 3_000)
    found = backfill.rebuild(tmp_path, "500MB", 1)
    assert found["facts"] == 3_000
    assert 0 < found["peak_gb"] < backfill.MARK_GB
    engine = open_database(tmp_path / "decisions.db")
    history = ParquetHistory(tmp_path / "history", MemoryEventLog(), SqlDecisionLog(engine))
    opportunities = history.outcomes().opportunities
    table = point_in_time(backfill.wide_view(), history.observations(), opportunities, history.happenings())
    engine.dispose()
    rows = pq.read_table(tmp_path / "rows.parquet")
    assert found["rows"] == rows.num_rows == len(opportunities)
    for name, column in table.numeric.items():
        np.testing.assert_allclose(rows[name].to_numpy(), column, rtol=1e-9, atol=1e-9, err_msg=name)


def test_the_ways_over_the_real_log_agree(data: Callable[[str], Path], tmp_path: Path) -> None:
    log = data("ipinyou_season2")
    found = backfill.compare(log, 500, patience=60, folder=tmp_path, memory="500MB", threads=1, entities=("url",))
    assert found.asked == 500
    assert found.apart < 1e-9
    [url] = found.feast
    assert url.seconds is not None, url.why
    assert found.feast_apart < 1e-9
