"""`bidloop allocate`: a budget over campaigns from report files and from the history, as table, JSON and page."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bidloop.app.allocating import advise
from bidloop.app.allocation.content import Advice
from bidloop.app.allocation.page import render
from bidloop.app.allocation.source import days_of_history, days_of_reports
from bidloop.app.settings import load_settings
from bidloop.app.wiring import open_house
from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.money import Money
from tests.app.command_line import Run

RETURNS = {"brand": 0.5, "generic": 0.1, "display": 0.05}
NOW = datetime(2026, 6, 3, 14, 37, tzinfo=UTC)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Eight weeks of three campaigns, the best of which is given the least."""
    random = np.random.default_rng(7)
    lines = ["timestamp,campaignId,impressions,clicks,spend,conversions,adGroupId,keyword,device,location"]
    for day in np.datetime64("2026-03-02") + np.arange(56):
        for campaign, worth in RETURNS.items():
            spend = 100 * np.exp(0.35 * random.normal())
            sold = random.poisson(100 * worth * (spend / 100) ** 0.6)
            clicks = sold * 4 + 50
            lines.append(f"{day}T12:00:00Z,{campaign},{clicks * 30},{clicks},{spend:.2f},{sold},g,k,mobile,DE")
    path = tmp_path / "report.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_report_becomes_advice_that_adds_up_and_gives_more_to_what_brings_more(bidloop: Run, report: Path) -> None:
    told = bidloop("allocate", report, "--budget", "330.01", "--json").json
    given = {one["campaign"]: one["allocated"]["micros"] for one in told["campaigns"]}
    assert sum(given.values()) == 330_010_000 == told["budget"]["micros"]
    assert given["brand"] > 1.3 * 110e6 > 110e6 > given["display"]
    assert told["gain_of_split"]["low"] > 0
    assert told["better"] > 0.95
    assert told["until"] == "2026-04-26"
    assert msgspec.json.decode(msgspec.json.encode(told), type=Advice).objective == "conversions"


def test_the_table_says_what_each_gets_and_what_binds(bidloop: Run, report: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(
        'max_change = 0.5\n[groups.search]\ncampaigns = ["brand", "generic"]\nmax_share = 0.7\n'
    )
    ended = bidloop("allocate", report, "--constraints", tmp_path / "c.toml", "--risk", "0.2")
    assert ended.code == 0
    assert re.search(r"display +[\d.]+ +[\d.]+ +[−+]\d+ %", ended.out)
    assert "more of them with probability" in ended.out
    assert "of room for the maximum share of group 'search' (70 % of the budget," in ended.out
    assert "the worst 20 % of the curves" in ended.out


def test_until_leaves_later_days_out_and_without_a_budget_todays_is_divided(bidloop: Run, report: Path) -> None:
    told = bidloop("allocate", report, "--until", "2026-04-05", "--objective", "clicks", "--json").json
    assert told["until"] == "2026-04-05"
    assert told["budget"] == told["today"]
    assert max(one["days"] for one in told["campaigns"]) == 35
    source = days_of_reports([report], "clicks")
    week = source.days.between(np.datetime64("2026-03-30"), np.datetime64("2026-04-06"))
    assert told["today"]["micros"] / 1e6 == pytest.approx(week.spend.sum() / 7, abs=1e-4)


def test_constraints_that_contradict_each_other_are_refused_by_name(bidloop: Run, report: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[campaigns.brand]\nmin = 250\n[campaigns.generic]\nmin = 90\n")
    ended = bidloop("allocate", report, "--budget", "300", "--constraints", tmp_path / "c.toml")
    assert (ended.code, ended.out) == (2, "")
    named = ("the budget (300.00 USD)", "the minimum of 'brand' (250.00 USD)", "the minimum of 'generic' (90.00 USD)")
    assert all(name in ended.err for name in named)
    assert "display" not in ended.err
    assert "cannot be kept together" in ended.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--objective", "profit"), "objective 'profit'"),
        (("--until", "yesterday"), "--until 'yesterday'"),
        (("--until", "2020-01-01"), "no day until 2020-01-01"),
        (("--until", "2026-03-08"), "7 days"),
        (("--budget", "much"), "'much' as an amount of money"),
        (("--risk", "2"), "bidding.allocation.risk = 2.0"),
        (("--objective", "value"), "no conversion value"),
        (("--constraints", "none.toml"), "no constraints 'none.toml'"),
    ],
)
def test_what_is_asked_wrongly_ends_with_2_and_one_sentence(
    bidloop: Run, report: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = bidloop("allocate", report, *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_key_that_constraints_do_not_have_is_refused(bidloop: Run, report: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[campaigns.brand]\nmaximum = 250\n")
    ended = bidloop("allocate", report, "--constraints", tmp_path / "c.toml")
    assert ended.code == 2
    assert "maximum" in ended.err
    assert "max_change, [campaigns.ID]" in ended.err


def test_the_page_has_no_script_and_shows_every_campaign_with_its_curve(
    bidloop: Run, report: Path, tmp_path: Path
) -> None:
    ended = bidloop("allocate", report, "--report", tmp_path / "deep" / "page.html")
    assert ended.code == 0
    page = (tmp_path / "deep" / "page.html").read_text()
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "prefers-color-scheme: dark" in page
    assert page.count('<svg viewBox="0 0 340 210"') == 3
    for words in ("brand", "What binds", "One more USD of budget would bring"):
        assert words in page


def test_a_name_in_a_report_cannot_bring_markup_into_the_page(report: Path) -> None:
    report.write_text(report.read_text().replace("brand", '"<b onload=x>"'))
    source = days_of_reports([report], "conversions")
    page = render(advise(source, objective="conversions", made_at=NOW))
    assert "&lt;b onload=x&gt;" in page
    assert "<b onload" not in page


def test_a_campaign_that_stopped_gets_nothing_unless_it_is_named(bidloop: Run, report: Path, tmp_path: Path) -> None:
    rows = report.read_text().splitlines()
    kept = [row for row in rows if not (row[:10] > "2026-04-10" and ",generic," in row)]
    report.write_text("\n".join(kept) + "\n")
    told = bidloop("allocate", report, "--json").json
    assert [one["campaign"] for one in told["campaigns"]] == ["brand", "display"]
    assert any("got nothing: generic" in note for note in told["notes"])
    (tmp_path / "c.toml").write_text("[campaigns.generic]\nmin = 20\n")
    named = bidloop("allocate", report, "--constraints", tmp_path / "c.toml", "--json").json
    assert {one["campaign"] for one in named["campaigns"]} == set(RETURNS)


def test_the_history_gives_the_same_advice_as_the_report_but_for_its_last_day(bidloop: Run, report: Path) -> None:
    assert bidloop("ingest", report, "--home", "home", "--known-at", "2026-04-27").code == 0
    by_history = bidloop("allocate", "--home", "home", "--objective", "clicks", "--json").json
    by_report = bidloop("allocate", report, "--objective", "clicks", "--json").json
    assert by_history["until"] == by_report["until"] == "2026-04-26"
    assert by_history["campaigns"] == by_report["campaigns"]


def test_a_report_that_is_told_again_restates_its_rows(report: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.csv"
    header, first, *_ = report.read_text().splitlines()
    cells = first.split(",")
    cells[4] = "777.00"
    again.write_text(f"{header}\n{','.join(cells)}\n")
    once, twice = days_of_reports([report], "conversions").days, days_of_reports([report, again], "conversions").days
    changed = np.flatnonzero(once.spend != twice.spend)
    assert (len(once), [twice.spend[i] for i in changed]) == (len(twice), [777.0])


def test_young_conversions_count_for_the_share_that_is_reported(bidloop: Run, report: Path, tmp_path: Path) -> None:
    header, *rows = report.read_text().splitlines()
    for day in ("2026-04-13", "2026-04-20", "2026-04-27"):  # each pull knows half of the last week's conversions
        cut = str(np.datetime64(day) - 7)
        lines = [header]
        for row in rows:
            cells = row.split(",")
            if row[:10] >= day:
                continue
            if row[:10] >= cut:
                cells[5] = str(int(cells[5]) // 2)
            lines.append(",".join(cells))
        pull = tmp_path / f"pull-{day}.csv"
        pull.write_text("\n".join(lines) + "\n")
        assert bidloop("ingest", pull, "--home", "home", "--known-at", day).code == 0
    house = open_house(load_settings(None, {}, {"home": "home"}))
    try:
        days = days_of_history(house, "conversions").days
    finally:
        house.close()
    assert days.reported is not None
    old, young = days.day < np.datetime64("2026-04-13"), days.day > np.datetime64("2026-04-21")
    assert days.reported[old].min() > 0.75 > days.reported[young].mean() > 0.3


def test_a_log_without_history_or_sense_is_refused(bidloop: Run, tmp_path: Path) -> None:
    empty = bidloop("allocate", "--home", "home")
    assert empty.code == 2
    assert "an empty history" in empty.err
    report = tmp_path / "r.csv"
    report.write_text("date,campaign,impressions,clicks,cost\n2026-01-01,spring,100,101,2.50\n")
    with pytest.raises(InsufficientData, match="no row that makes sense"):
        days_of_reports([report], "clicks")
    rows = "".join(f"2026-01-{day:02d},spring,1000,{day},2.50\n" for day in range(1, 29))
    report.write_text(f"date,campaign,impressions,clicks,cost\n{rows}")
    source = days_of_reports([report], "clicks")
    with pytest.raises(InvalidInput, match="a budget of"):
        advise(source, objective="clicks", budget=Money(0), made_at=NOW)


def test_what_serves_does_not_load_the_solver() -> None:
    script = "import sys, bidloop.app.cli, bidloop.app.http.server, bidloop.app.wiring; print('cvxpy' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "False\n"
    )


def test_the_solver_is_a_dependency_of_the_package() -> None:
    root = Path(__file__).resolve().parents[2]
    wanted = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    assert any(name.startswith("cvxpy") for name in wanted)


def test_the_real_report_is_divided(bidloop: Run, data: Callable[[str], Path]) -> None:
    report = data("display_campaign_report") / "online_advertising_performance_data.csv.gz"
    told = bidloop("allocate", report, "--year", "2020", "--until", "2020-05-31", "--budget", "1400", "--json").json
    given = {one["campaign"]: one["allocated"]["micros"] for one in told["campaigns"]}
    assert sum(given.values()) == 1_400_000_000
    assert given["camp 1"] > 1_300_000_000
    assert any("camp 2" in note for note in told["notes"])
