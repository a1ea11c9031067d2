"""Reports as a whole, examined by Great Expectations itself."""

from __future__ import annotations

import html
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.campaign_report.mapping import guess_mapping
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.adapters.great_expectations.batch_gate import GreatExpectationsGate
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError
from bidloop.events.batches import Examination
from bidloop.events.settings import EventSettings

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HEADER = ["date", "campaign", "impressions", "clicks", "cost", "conversions"]
ROWS = [f"2026-03-{day:02d},{campaign},1000,12,8.40,1" for day in range(1, 11) for campaign in ("spring", "summer")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("expectations")


@pytest.fixture(scope="module")
def gate(site: Path) -> GreatExpectationsGate:
    return GreatExpectationsGate(site, ManualClock(NOW), EventSettings(currency="EUR"))


def examine(gate: GreatExpectationsGate, folder: Path, *rows: str, name: str = "report.csv") -> Examination:
    file = folder / name
    file.write_text("\n".join([",".join(HEADER), *rows]) + "\n")
    columns = msgspec.structs.replace(guess_mapping(HEADER), currency="EUR")
    return gate.examine(name, read_report(file, columns, checked=False))


def test_a_sound_report_passes_and_has_a_page_that_says_what_was_looked_at(
    gate: GreatExpectationsGate, tmp_path: Path
) -> None:
    examination = examine(gate, tmp_path, *ROWS)
    assert examination.failures == ()
    page = html.unescape(examination.page.read_text())
    assert "Succeeded" in page
    assert "There are at most as many clicks as impressions" in page


@pytest.mark.parametrize(
    ("rows", "failure"),
    [
        ([], "The report has rows (0 of them)"),
        (["2026-03-01,spring,1000,1200,8.40,1", *ROWS[1:4]], "at most as many clicks as impressions (25.0 %"),
        (["2026-03-01,spring,1000,12,-8.40,1", *ROWS[1:4]], "Spend is not negative (25.0 %"),
        (["2026-03-01,spring,1000,12,8.40,-1", *ROWS[1:4]], "Conversions is not negative (25.0 %"),
        (["2026-04-01,spring,1000,12,8.40,1", *ROWS[1:4]], "Dates are plausible and have come (25.0 %"),
        (["1926-03-01,spring,1000,12,8.40,1", *ROWS[1:4]], "Dates are plausible and have come (25.0 %"),
        (["2026-03-01,,1000,12,8.40,1", *ROWS[1:4]], "make sense (25.0 % of the rows do not: missing_value)"),
        (["2026-03-01,summer,9,1,1,0", *ROWS[1:4]], "Each cell has one row per period (50.0 %"),
        (["2026-03-01,spring,0,0,8.40,0", *ROWS[1:4]], "Where money was spent, something was shown (25.0 %"),
        (["Total,spring,1000,12,8.40,1", *ROWS[1:4]], "Rows can be read and make sense (25.0 %"),
        (["2026-03-01,spring,many,12,8.40,1"] * 2, "make sense (100.0 % of the rows do not: unreadable_number)"),
    ],
)  # fmt: skip
def test_a_report_that_is_not_what_it_should_be_fails_with_a_sentence_that_says_why(
    gate: GreatExpectationsGate, tmp_path: Path, rows: list[str], failure: str
) -> None:
    examination = examine(gate, tmp_path, *rows)
    assert [one for one in examination.failures if failure in one]
    assert "Failed" in examination.page.read_text()


def test_a_row_that_cannot_be_read_is_not_said_to_lack_what_it_has(gate: GreatExpectationsGate, tmp_path: Path) -> None:
    [failure] = examine(gate, tmp_path, "2026-03-01,spring,1000,12.5,8.40,1").failures
    assert failure == "not met: Rows can be read and make sense (100.0 % of the rows do not: unreadable_number)"


def test_names_of_campaigns_and_files_are_text_on_the_page_and_run_nothing(
    gate: GreatExpectationsGate, tmp_path: Path
) -> None:
    image = "<img src=x onerror=alert(1)>"
    examination = examine(gate, tmp_path, *[f"2026-03-01,{image},10,1,1,0"] * 3, name=f"R&D {image}.csv")
    for page in (examination.page, examination.page.parents[4] / "index.html"):
        assert image not in page.read_text()
        assert image in html.unescape(html.unescape(page.read_text()))


def test_a_bad_row_here_and_there_fails_nothing(gate: GreatExpectationsGate, tmp_path: Path) -> None:
    assert examine(gate, tmp_path, *ROWS[1:], "2026-03-01,spring,1000,1200,8.40,1").failures == ()
    assert examine(gate, tmp_path, *ROWS[2:], "2026-03-01,spring,1000,1200,8.40,1", "x,,,,,").failures


def test_a_report_in_another_currency_than_the_account_fails(site: Path, tmp_path: Path) -> None:
    gate = GreatExpectationsGate(site, ManualClock(NOW), EventSettings(currency="USD"))
    assert "Rows can be read" in examine(gate, tmp_path, *ROWS).failures[0]


def test_the_site_lists_every_examination_also_those_of_another_run(
    gate: GreatExpectationsGate, site: Path, tmp_path: Path
) -> None:
    first = examine(gate, tmp_path, *ROWS, name="Früh #1, 100 %.csv")
    another = GreatExpectationsGate(site, ManualClock(NOW), EventSettings())
    second = examine(another, tmp_path, name="late.csv")
    assert first.page.exists()
    assert first.page != second.page
    index = html.unescape((site / "index.html").read_text())
    assert "Früh #1, 100 %.csv" in index
    assert "late.csv" in index


def test_nothing_is_sent_anywhere(gate: GreatExpectationsGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert examine(gate, tmp_path, *ROWS).failures == ()


def test_it_is_loaded_only_when_a_gate_is_wanted() -> None:
    script = "import sys, bidloop.adapters.great_expectations.batch_gate; print({'great_expectations', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "great_expectations", None)
    with pytest.raises(ConfigurationError, match=r"pip install bidloop\[expectations\]"):
        GreatExpectationsGate(tmp_path, ManualClock(NOW), EventSettings())
