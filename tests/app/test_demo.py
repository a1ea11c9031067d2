"""The demo, from an empty folder to a report, in a small world."""

from __future__ import annotations

from pathlib import Path

import pytest

from bidloop.app.demo import simulated
from bidloop.app.report.page import render
from bidloop.app.wiring import open_loop
from bidloop.core.errors import ConfigurationError
from bidloop.simulation.settings import WorldSettings

SMALL = WorldSettings(auctions_per_day=800, users=500, keywords=4)


def test_a_demo_learns_bids_within_its_budgets_and_leaves_a_report_and_a_house_to_serve(tmp_path: Path) -> None:
    done = simulated(tmp_path / "demo", share=1 / 8, seed=1, world=SMALL, kinds=("constant", "logistic"))
    rows = {row.policy: row for row in done.report.policies}
    assert list(rows) == ["constant bid", "best linear bid", "mcpc", "ours", "hindsight optimum", "all-knowing"]
    assert all(row.impressions > 0 and (row.budget_used or 0) <= 1 + 1e-9 for row in rows.values())
    assert {row.model for row in done.report.models} == {"constant", "logistic"}
    assert "The loop on a simulated market" in render(done.report)
    loop = open_loop(done.settings)
    assert loop.predictor.version == done.report.model_version
    for decision in loop.decisions.recent(50):
        assert loop.recompute(decision) == decision


def test_a_demo_leaves_alone_what_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigurationError, match="no demo made it"):
        simulated(tmp_path, share=1 / 8, seed=1, world=SMALL)
    assert (tmp_path / "mine.txt").read_text() == "keep"
