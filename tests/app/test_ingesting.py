"""Files and folders of files, taken in once each, whatever cuts the run off."""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest

from bidloop.app.ingesting import Ingestion, ingest_files, print_ingestion
from bidloop.app.settings import Settings
from bidloop.app.terminal import print_json
from bidloop.app.wiring import House, open_house
from bidloop.core.clock import ManualClock
from bidloop.core.errors import ConfigurationError, CorruptArtifact, InvalidInput, NotFound
from bidloop.core.event import CampaignReported
from bidloop.events.batches import failed_batches
from bidloop.events.settings import EventSettings

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
HEADER = "date,campaign,impressions,clicks,cost,conversions"
CLICK = '{"type": "click_received", "eventId": "c%s", "at": "2026-03-01T12:00:00Z", "impressionId": "i1"}\n'
IPINYOU = (
    "b\t20130607005405602\t1\tu\ta\tip\t15\t16\t1\td\tnull\tnull\ts\t300\t250\t0\t1\t50\tc\t227\t119\tk\t3358\tt\n"
)


def house_in(folder: Path, **settings: object) -> House:
    return open_house(Settings(home=str(folder / "home"), **settings), ManualClock(NOW))


@pytest.fixture
def house(tmp_path: Path) -> House:
    return house_in(tmp_path)


def report(path: Path, *rows: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    return path


def days(*numbers: int, campaign: str = "spring", conversions: int = 1) -> list[str]:
    return [f"2026-03-{day:02d},{campaign},1000,12,8.40,{conversions}" for day in numbers]


def states(told: Ingestion) -> dict[str, str]:
    return {Path(file.path).name: file.state for file in told.files}


def rows_of(house: House) -> list[CampaignReported]:
    return [event for _, event in house.log.read() if isinstance(event, CampaignReported)]


def test_a_folder_is_taken_in_with_all_that_it_holds_in_the_order_of_names(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "pulled"
    report(folder / "b" / "2.csv", *days(2))
    report(folder / "b" / "1.csv", *days(1))
    (folder / "a.csv.gz").write_bytes(gzip.compress(report(folder / "a.csv", *days(3)).read_bytes()))
    (folder / "a.csv").unlink()
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(report(folder / "c.csv", *days(4))), folder / "c.parquet")
    (folder / "c.csv").unlink()
    (folder / "d.ndjson").write_text(CLICK % 1 + "{}\n")
    (folder / "e.jsonl.gz").write_bytes(gzip.compress((CLICK % 2).encode()))
    (folder / "notes.docx").write_text("not ours")
    (folder / ".hidden.csv").write_text("not ours")
    (folder / "back").symlink_to(folder)
    told = ingest_files(house, [folder])
    assert list(states(told)) == ["a.csv.gz", "1.csv", "2.csv", "c.parquet", "d.ndjson", "e.jsonl.gz", "notes.docx"]
    assert states(told)["notes.docx"] == "skipped"
    assert (told.accepted, told.duplicates, told.rejected) == (6, 0, {"unknown_type": 1})
    assert [event.at.day for event in rows_of(house)] == [3, 1, 2, 4]
    assert house.log.counts() == {"campaign_reported": 4, "click_received": 2}
    [kept] = house.quarantine.list()
    assert (kept.row.source, kept.row.position, kept.row.raw) == ("d.ndjson", 2, b"{}")


def test_several_paths_are_taken_in_together_and_each_is_told_of(house: House, tmp_path: Path) -> None:
    first, second = report(tmp_path / "a.csv", *days(1, 2)), report(tmp_path / "b.csv", *days(2, 3))
    told = ingest_files(house, [first, second])
    assert [(file.accepted, file.duplicates) for file in told.files] == [(2, 0), (1, 1)]
    assert (told.accepted, told.duplicates) == (3, 1)


def test_a_file_that_was_taken_in_is_known_by_its_content_whatever_it_is_called(house: House, tmp_path: Path) -> None:
    first = report(tmp_path / "a.csv", *days(1, 2), "Total,,,,,")
    ingest_files(house, [first])
    again = ingest_files(house, [first, Path(shutil.copy(first, tmp_path / "copy.csv"))])
    assert states(again) == {"a.csv": "before", "copy.csv": "before"}
    assert (again.accepted, again.duplicates, again.rejected) == (0, 0, {})
    read = ingest_files(house, [first], again=True)
    assert (read.accepted, read.duplicates, read.rejected) == (0, 2, {"unknown_date": 1})
    assert sum(house.quarantine.counts().values()) == 1


def test_a_file_that_grew_or_is_read_otherwise_is_another_one(house: House, tmp_path: Path) -> None:
    file = report(tmp_path / "a.csv", *days(1))
    ingest_files(house, [file])
    report(file, *days(1, 2))
    grown = ingest_files(house, [file])
    assert (states(grown), grown.accepted, grown.duplicates) == ({"a.csv": "taken"}, 1, 1)
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'date="date"\ncampaign_id="campaign"\nimpressions="impressions"\nclicks="clicks"\nspend="cost"\nconversions="clicks"\n'
    )
    assert ingest_files(house, [file], mapping=str(mapping)).restated == 2


def test_a_look_back_window_that_is_pulled_again_restates_what_changed(house: House, tmp_path: Path) -> None:
    monday, tuesday = NOW - timedelta(days=2), NOW - timedelta(days=1)
    ingest_files(house, [report(tmp_path / "monday.csv", *days(*range(1, 11)))], known_at=monday)
    pulled = report(tmp_path / "tuesday.csv", *days(*range(1, 9)), *days(9, 10, conversions=3), *days(11))
    told = ingest_files(house, [pulled], known_at=tuesday)
    assert (told.accepted, told.restated, told.duplicates) == (3, 2, 8)
    named = [event.row_id for event in rows_of(house)]
    assert len(named) == 13
    assert len(set(named)) == 11
    ninth = [event for event in rows_of(house) if event.at.day == 9]
    assert [(event.conversions, event.known_at) for event in ninth] == [(1, monday), (3, tuesday)]


def test_the_same_bytes_pulled_at_another_time_take_figures_back(house: House, tmp_path: Path) -> None:
    before, between = report(tmp_path / "a.csv", *days(1)), report(tmp_path / "b.csv", *days(1, conversions=2))
    for hours, file in enumerate((before, between, before)):
        ingest_files(house, [file], known_at=NOW - timedelta(hours=9 - hours))
    assert [event.conversions for event in rows_of(house)] == [1, 2, 1]


def test_a_report_is_known_from_when_it_is_taken_in_unless_it_says_otherwise(house: House, tmp_path: Path) -> None:
    ingest_files(house, [report(tmp_path / "a.csv", *days(1))])
    assert [event.known_at for event in rows_of(house)] == [NOW]


def test_reports_that_were_pulled_in_the_future_are_refused_before_any_row(house: House, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="expected an instant that has come"):
        ingest_files(house, [report(tmp_path / "a.csv", *days(1))], known_at=NOW.replace(year=2062))
    assert house.quarantine.counts() == {}


def test_a_contradiction_inside_one_report_is_kept_aside_and_not_taken_for_a_restatement(
    house: House, tmp_path: Path
) -> None:
    told = ingest_files(house, [report(tmp_path / "a.csv", *days(1), *days(1, conversions=9))])
    assert (told.accepted, told.restated, told.rejected) == (1, 0, {"changed_event": 1})


def test_people_in_a_file_of_events_are_pseudonyms_in_the_log(house: House, tmp_path: Path) -> None:
    file = tmp_path / "e.ndjson"
    file.write_text((CLICK % 1).replace("}", ', "userId": "anna@example.com", "consent": true}'))
    ingest_files(house, [file])
    [(_, click)] = house.log.read()
    assert click.user_id == house.privacy.pseudonym("user_id", "anna@example.com")


def test_an_ipinyou_log_inside_a_folder_is_one_and_is_known_again(tmp_path: Path) -> None:
    house = house_in(tmp_path, currency="CNY", timezone="Asia/Shanghai")
    (tmp_path / "pulled" / "log").mkdir(parents=True)
    (tmp_path / "pulled" / "log" / "imp.20130607.txt").write_text(IPINYOU)
    report(tmp_path / "pulled" / "z.csv", *days(1))
    told = ingest_files(house, [tmp_path / "pulled"])
    assert states(told) == {"log": "taken", "z.csv": "taken"}
    assert house.log.counts() == {"campaign_reported": 1, "impression_served": 1}
    assert states(ingest_files(house, [tmp_path / "pulled"])) == {"log": "before", "z.csv": "before"}
    (tmp_path / "pulled" / "log" / "imp.20130608.txt").write_text(IPINYOU.replace("b\t20130607", "c\t20130608"))
    assert ingest_files(house, [tmp_path / "pulled"]).accepted == 1
    with pytest.raises(ConfigurationError, match="in CNY, for an account in USD"):
        ingest_files(house_in(tmp_path / "other"), [tmp_path / "pulled" / "log"])


def test_what_cannot_be_read_is_said_before_anything_is(house: House, tmp_path: Path) -> None:
    good = report(tmp_path / "a.csv", *days(1))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.docx").write_text("not ours")
    for path, kind, words in (
        (tmp_path / "nowhere.csv", NotFound, "nothing at"),
        (tmp_path / "empty", NotFound, "nothing to read"),
        (tmp_path / "notes.docx", InvalidInput, r"a file 'notes\.docx'; expected one that ends on \.csv"),
    ):
        with pytest.raises(kind, match=words):
            ingest_files(house, [good, path])
    assert house.log.counts() == {}


def test_one_of_several_files_that_cannot_be_read_does_not_keep_the_others_out(house: House, tmp_path: Path) -> None:
    folder = tmp_path / "pulled"
    report(folder / "a.csv", *days(1))
    (folder / "b.csv").write_text("city,temperature\nKöln,9\n")
    (folder / "c.ndjson.gz").write_bytes(gzip.compress((CLICK % 1).encode())[:-12])
    report(folder / "d.csv", *days(2))
    told = ingest_files(house, [folder])
    assert list(states(told).values()) == ["taken", "unreadable", "unreadable", "taken"]
    assert ["no column for date" in told.failed[0].failures[0], "c.ndjson.gz" in told.failed[1].failures[0]] == [
        True,
        True,
    ]
    with pytest.raises(InvalidInput, match="no column for date"):
        ingest_files(house, [folder / "b.csv"])
    with pytest.raises(CorruptArtifact, match=r"c\.ndjson\.gz"):
        ingest_files(house, [folder / "c.ndjson.gz"])


def test_files_with_odd_names_or_that_cannot_be_opened_do_not_keep_the_others_out(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pulled"
    report(folder / "a.csv", *days(1)).rename(folder / os.fsdecode(b"fr\xfch.csv"))
    (folder / "b.csv").symlink_to("/proc/self/mem")  # opens, and cannot be read
    (folder / "c.ndjson").symlink_to("/proc/self/mem")
    (folder / os.fsdecode(b"d\xfc.txt")).write_text("not ours")
    (folder / "e.csv").write_text("Dåte,campaign,impressions,clicks,cost\n", encoding="utf-16")
    report(folder / "z.csv", *days(2))
    told = ingest_files(house, [folder])
    assert list(states(told).values()) == ["unreadable", "unreadable", "skipped", "unreadable", "unreadable", "taken"]
    print_json(told)
    print_ingestion(told)
    assert r"fr\xfch.csv" in capsys.readouterr().out
    with pytest.raises(CorruptArtifact, match="expected a file that can be read"):
        ingest_files(house, [folder / "c.ndjson"])


def test_the_bar_only_goes_forward_and_ends_where_the_files_end(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    @contextmanager
    def noted(description: str, total: float) -> Iterator[Callable[[float, str], None]]:
        yield lambda done, doing: seen.append(done / total)

    monkeypatch.setattr("bidloop.app.ingesting.progress", noted)
    ingest_files(house, [report(tmp_path / f"{n}.csv", *days(n)) for n in (1, 2)])
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_what_was_done_is_printed_for_a_person(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = report(tmp_path / "[a].csv", *days(1, 2), "Total,,,,,")
    print_ingestion(ingest_files(house, [file]))
    print_ingestion(ingest_files(house, [file, report(tmp_path / "b.csv", *days(3))]))
    printed = capsys.readouterr().out
    assert "kept aside: unknown_date" in printed
    assert "[a].csv" in printed
    assert "taken in before" in printed
    assert "not read again without --again" in printed


CUT_OFF = """
import sys
from pathlib import Path
from bidloop.app.ingesting import ingest_files
from bidloop.app.settings import Settings
from bidloop.app.wiring import open_house
from bidloop.events.settings import EventSettings
settings = Settings(home=sys.argv[1], events=EventSettings(chunk=20))
ingest_files(open_house(settings), [Path(sys.argv[2])])
"""


@pytest.mark.parametrize("kind", ["report.csv", "events.ndjson"])
def test_a_run_that_is_killed_goes_on_where_it_was_and_nothing_is_lost_or_twice(tmp_path: Path, kind: str) -> None:
    file, total = tmp_path / kind, 20_000
    if kind == "report.csv":
        report(
            file, *(row for i in range(total // 20) for row in days(*range(1, 20), campaign=f"c{i}")), *days(20) * 1_000
        )
        distinct = total // 20 * 19 + 1
    else:
        file.write_text("".join(CLICK % i for i in range(total)))
        distinct = total
    house = house_in(tmp_path)
    stored = 0
    for _ in range(2):
        run = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(tmp_path / "home"), str(file)])
        while (now := sum(house.log.counts().values())) < stored + 300:
            assert run.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        stored = now
    told = ingest_files(house, [file])
    [done] = told.files
    assert done.resumed_at >= stored
    assert done.resumed_at % 20 == 0
    assert sum(house.log.counts().values()) == distinct
    assert told.accepted == distinct - done.resumed_at
    assert states(ingest_files(house, [file])) == {kind: "before"}


def test_two_runs_on_the_same_report_at_once_take_each_row_in_once(tmp_path: Path) -> None:
    house = house_in(tmp_path)
    ingest_files(
        house, [report(tmp_path / "a.csv", *(row for i in range(50) for row in days(*range(1, 21), campaign=f"c{i}")))]
    )
    pulled = report(
        tmp_path / "b.csv", *(row for i in range(60) for row in days(*range(1, 21), campaign=f"c{i}", conversions=2))
    )
    runs = [subprocess.Popen([sys.executable, "-c", CUT_OFF, str(tmp_path / "home"), str(pulled)]) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(rows_of(house)) == 1_000 + 1_200
    assert sum(event.event_id != event.row_id for event in rows_of(house)) == 1_000
    assert house.quarantine.counts() == {}


def gated(folder: Path) -> House:
    return house_in(folder, events=EventSettings(expectations=True))


def test_a_report_that_fails_as_a_whole_leaves_nothing_in_the_log_until_it_is_mended(tmp_path: Path) -> None:
    house = gated(tmp_path)
    bad, good = tmp_path / "a.csv", report(tmp_path / "b.csv", *days(1, campaign="summer"))
    report(bad, *days(1, 2), "2026-03-03,spring,10,12,8.40,0")
    told = ingest_files(house, [bad, good])
    assert states(told) == {"a.csv": "failed", "b.csv": "taken"}
    assert [event.opportunity.campaign_id for event in rows_of(house)] == ["summer"]
    [failed] = told.failed
    assert any("at most as many clicks" in failure for failure in failed.failures)
    assert Path(failed.page).is_relative_to(house.home.resolve() / "expectations")
    assert Path(failed.page).exists()
    [kept] = failed_batches(house.quarantine)
    assert kept.row.raw == bad.read_bytes()
    assert failed.page in kept.row.reason
    ingest_files(house, [bad])
    assert len(failed_batches(house.quarantine)) == 1, "the same failure is kept once"
    report(bad, *days(1, 2, 3))
    assert (ingest_files(house, [bad]).accepted, failed_batches(house.quarantine)) == (3, [])
    assert states(ingest_files(house, [bad])) == {"a.csv": "before"}


def test_a_report_that_fails_again_as_it_did_before_it_was_mended_waits_again(tmp_path: Path) -> None:
    house, file = gated(tmp_path), tmp_path / "latest.csv"
    for day in (1, 2):
        assert states(ingest_files(house, [report(file)])) == {"latest.csv": "failed"}
        assert len(failed_batches(house.quarantine)) == 1
        ingest_files(house, [report(file, *days(day))])
        assert failed_batches(house.quarantine) == []


def test_a_failed_report_is_printed_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_ingestion(ingest_files(gated(tmp_path), [report(tmp_path / "a.csv")]))
    printed = " ".join(capsys.readouterr().out.split())
    assert "kept aside: failed_batch" in printed
    assert "The report has rows" in printed
    assert "mend the report and ingest it again" in printed


def test_events_and_logs_of_impressions_need_no_gate(tmp_path: Path) -> None:
    house = gated(tmp_path)
    (tmp_path / "e.ndjson").write_text(CLICK % 1)
    assert ingest_files(house, [tmp_path / "e.ndjson"]).accepted == 1
    assert not (house.home / "expectations" / "validations").exists()
