"""Reports with all kinds of columns, and rows that make no sense."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bidloop.adapters.campaign_report.mapping import (
    ColumnMapping,
    display_campaign_report,
    guess_mapping,
    load_mapping,
    spec,
)
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.adapters.campaign_report.rows import read_columns
from bidloop.core.errors import ConfigurationError, CorruptArtifact, InvalidInput, NotFound
from bidloop.core.event import CampaignReported
from bidloop.core.money import Money
from bidloop.events.rejected import Rejected

SPEC = [
    "timestamp",
    "spend",
    "clicks",
    "impressions",
    "conversions",
    "campaignId",
    "adGroupId",
    "keyword",
    "device",
    "location",
]
GOOD = ["2026-03-01T14:00:00Z", "12.5", "3", "100", "4", "spring", "shoes", "red shoes", "mobile", "DE"]
TIMEZONE = "Europe/Berlin"


def write(path: Path, *rows: list[str], header: list[str] = SPEC, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def with_cell(column: str, value: str) -> list[str]:
    row = list(GOOD)
    row[SPEC.index(column)] = value
    return row


def test_a_row_of_the_spec_becomes_a_report_event(tmp_path: Path) -> None:
    [event] = read_report(write(tmp_path / "a.csv", GOOD), spec(currency="EUR"))
    assert isinstance(event, CampaignReported)
    assert event.at == datetime(2026, 3, 1, 14, tzinfo=UTC)
    assert (event.impressions, event.clicks, event.conversions) == (100, 3, 4)
    assert (event.spend, event.value) == (Money.of("12.5", "EUR"), None)
    cell = event.opportunity
    assert (cell.campaign_id, cell.ad_group_id, cell.keyword, cell.device, cell.location, cell.currency, cell.at) == (
        "spring", "shoes", "red shoes", "mobile", "DE", "EUR", event.at,
    )  # fmt: skip


def test_the_same_cell_has_the_same_id_in_every_file_format(tmp_path: Path) -> None:
    plain = write(tmp_path / "a.csv", GOOD)
    semicolons = write(tmp_path / "b.csv", GOOD, delimiter=";")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + plain.read_bytes()))
    table = pa.table({
        name: [datetime(2026, 3, 1, 14, tzinfo=UTC)] if name == "timestamp"
        else [Decimal("12.5")] if name == "spend"
        else [float(value)] if name in {"clicks", "impressions", "conversions"} else [value]
        for name, value in zip(SPEC, GOOD, strict=True)
    })  # fmt: skip
    pq.write_table(table, tmp_path / "d.parquet")
    events = [
        list(read_report(path, spec())) for path in (plain, semicolons, tmp_path / "c.csv.gz", tmp_path / "d.parquet")
    ]
    assert events[0] == events[1] == events[2] == events[3]


def test_other_cells_and_periods_have_other_ids(tmp_path: Path) -> None:
    rows = [GOOD, *(with_cell(name, "x1") for name in SPEC[5:]), with_cell("timestamp", "2026-03-01T15:00:00Z")]
    events = list(read_report(write(tmp_path / "a.csv", *rows), spec()))
    assert len({event.event_id for event in events}) == len(rows)


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("clicks", "101", "clicks_exceed_impressions"),
        ("spend", "-0.01", "negative_spend"),
        ("impressions", "-1", "negative_count"),
        ("conversions", "-1", "negative_count"),
        ("timestamp", "yesterday", "unknown_date"),
        ("timestamp", "", "unknown_date"),
        ("timestamp", "0001-01-01", "unknown_date"),
        ("timestamp", "Total", "unknown_date"),
        ("spend", "1,234.50", "unreadable_number"),
        ("spend", "$3", "unreadable_number"),
        ("spend", "", "missing_value"),
        ("conversions", "--", "missing_value"),
        ("clicks", "2.5", "unreadable_number"),
        ("clicks", "1e99", "unreadable_number"),
        ("spend", "NaN", "not_finite"),
        ("spend", "-inf", "not_finite"),
        ("campaignId", " ", "missing_value"),
    ],
)
def test_a_row_that_makes_no_sense_is_handed_on_with_its_line_and_the_others_are_read(
    tmp_path: Path, column: str, value: str, code: str
) -> None:
    path = write(tmp_path / "a.csv", GOOD, with_cell(column, value), with_cell("device", "tablet"))
    first, bad, last = read_report(path, spec())
    assert isinstance(first, CampaignReported)
    assert isinstance(last, CampaignReported)
    assert isinstance(bad, Rejected)
    assert (bad.code, bad.position, bad.source) == (code, 3, "a.csv")
    assert bad.raw.decode() == path.read_text().splitlines()[2]
    assert "expected" in bad.reason


def test_rows_of_another_length_or_encoding_are_handed_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", GOOD[:-1], [*GOOD, "more"], GOOD)
    with path.open("ab") as file:
        file.write(",".join(with_cell("location", "Köln")).encode("latin-1") + b"\n\n")
        file.write(b"x" * 200_000 + b"\n")
    rows = list(read_report(path, spec()))
    assert [getattr(row, "code", "") for row in rows] == [
        "wrong_columns", "wrong_columns", "", "unreadable_text", "wrong_columns",
    ]  # fmt: skip
    assert rows[3].raw == ",".join(with_cell("location", "Köln")).encode("latin-1"), "the bytes as they were"


def test_columns_that_the_mapping_does_not_name_may_be_there_twice_or_have_no_name(tmp_path: Path) -> None:
    for extra in (["note", "note"], ["", ""]):
        [event] = read_report(write(tmp_path / "a.csv", [*GOOD, "x", "y"], header=[*SPEC, *extra]), spec())
        assert isinstance(event, CampaignReported)


def test_a_header_that_is_not_utf_8_is_said_before_any_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Date\tCampaign\tImpr.\tClicks\tCost\n", encoding="utf-16")
    with pytest.raises(InvalidInput, match="not UTF-8 in the first line") as caught:
        load_mapping(None, tmp_path / "a.csv")
    assert str(caught.value).isprintable()


def test_text_that_a_parquet_file_holds_as_bytes_is_text(tmp_path: Path) -> None:
    columns = {name: [value.encode()] for name, value in zip(SPEC, GOOD, strict=True)} | {"hash": [b"\xff\x00"]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    [event] = read_report(tmp_path / "a.parquet", spec())
    assert isinstance(event, CampaignReported)
    assert event.opportunity.campaign_id == "spring"


@pytest.mark.parametrize(
    ("zone", "day", "hour", "utc"),
    [("Europe/Berlin", "2025-10-26", 2, (0, 1)), ("America/New_York", "2025-11-02", 1, (5, 6))],
)
def test_an_hour_that_clocks_show_twice_is_two_rows(
    tmp_path: Path, zone: str, day: str, hour: int, utc: tuple[int, int]
) -> None:
    hours = [with_cell("timestamp", f"{day}T{at:02d}:00:00") for at in sorted([*range(24), hour])]
    events = list(read_report(write(tmp_path / "a.csv", *hours), spec(timezone=zone)))
    assert len({event.event_id for event in events if isinstance(event, CampaignReported)}) == 25
    assert [event.at.hour for event in events[hour : hour + 2] if isinstance(event, CampaignReported)] == list(utc)
    # With a zone of its own, or as a day, the second is no other hour.
    for text in (f"{day}T{hour:02d}:00:00+02:00", day):
        first, second = read_report(write(tmp_path / "b.csv", *[with_cell("timestamp", text)] * 2), spec(timezone=zone))
        assert first == second


def test_an_hour_that_clocks_skip_is_kept_aside_and_the_next_one_counts(tmp_path: Path) -> None:
    hours = [with_cell("timestamp", f"2026-03-29T{at:02d}:00") for at in range(24)]
    events = list(read_report(write(tmp_path / "a.csv", *hours), spec(timezone=TIMEZONE)))
    assert [row.position for row in events if isinstance(row, Rejected)] == [4]
    assert len({event.event_id for event in events if isinstance(event, CampaignReported)}) == 23


@pytest.mark.parametrize(("zone", "day"), [("Asia/Beirut", "2026-03-29"), ("Atlantic/Azores", "2025-10-26")])
def test_a_day_begins_at_midnight_also_where_clocks_skip_midnight_or_show_it_twice(
    tmp_path: Path, zone: str, day: str
) -> None:
    rows = list(read_report(write(tmp_path / "a.csv", *[with_cell("timestamp", day)] * 2), spec(timezone=zone)))
    assert isinstance(rows[0], CampaignReported)
    assert rows[0] == rows[1]


def test_a_rejected_row_keeps_its_quotes_and_its_line_breaks(tmp_path: Path) -> None:
    first = with_cell("keyword", 'red\n"shoes", new')
    path = write(tmp_path / "a.csv", with_cell("clicks", "101"), [*first[:2], "101", *first[3:]], delimiter=";")
    plain, quoted = read_report(path, spec())
    assert (plain.position, quoted.position) == (2, 4)
    assert plain.raw + b"\r\n" + quoted.raw + b"\r\n" == path.read_bytes().split(b"\r\n", 1)[1]


def test_a_date_without_a_zone_is_in_the_accounts_own(tmp_path: Path) -> None:
    [event] = read_report(write(tmp_path / "a.csv", with_cell("timestamp", "2026-07-01")), spec(timezone=TIMEZONE))
    assert event.at == datetime(2026, 6, 30, 22, tzinfo=UTC)
    [event] = read_report(
        write(tmp_path / "b.csv", with_cell("timestamp", "2026-07-01T00:00-04:00")), spec(timezone=TIMEZONE)
    )
    assert event.at == datetime(2026, 7, 1, 4, tzinfo=UTC)


def test_dates_may_have_a_format_of_their_own_or_be_month_and_day(tmp_path: Path) -> None:
    german = msgspec.structs.replace(spec(), date_format="%d.%m.%Y")
    [event] = read_report(write(tmp_path / "a.csv", with_cell("timestamp", "05.03.2026")), german)
    assert event.at == datetime(2026, 3, 5, tzinfo=UTC)
    apart = ColumnMapping(
        month="month", day="day", year=2020, campaign_id="c", impressions="i", clicks="k", spend="s", timezone=TIMEZONE
    )
    header = ["month", "day", "c", "i", "k", "s"]
    rows = [["April", "1"], ["apr", "1"], ["4", "1"], ["February", "30"], ["Smarch", "1"]]
    path = write(tmp_path / "b.csv", *([*row, "x", "9", "1", "1"] for row in rows), header=header)
    events = list(read_report(path, apart))
    assert [event.at for event in events[:3]] == [datetime(2020, 3, 31, 22, tzinfo=UTC)] * 3
    assert [row.code for row in events[3:]] == ["unknown_date", "unknown_date"]


def test_attributes_and_measures_come_along_and_a_missing_measure_is_absent(tmp_path: Path) -> None:
    mapping = msgspec.structs.replace(spec(), attributes={"banner": "b"}, measures={"quality": "q", "share": "s"})
    path = write(tmp_path / "a.csv", [*GOOD, "300x250", "7.5", "N/A"], header=[*SPEC, "b", "q", "s"])
    [event] = read_report(path, mapping)
    assert event.opportunity.attributes == {"banner": "300x250"}
    assert event.opportunity.measures == {"quality": 7.5}


def test_a_row_names_itself_and_says_when_it_was_pulled(tmp_path: Path) -> None:
    pulled = datetime(2026, 3, 31, 6, tzinfo=UTC)
    path = write(tmp_path / "a.csv", GOOD)
    [event] = read_report(path, spec(), known_at=pulled)
    assert (event.row_id, event.known_at) == (event.event_id, pulled)
    assert event.opportunity.opportunity_id == event.row_id
    [unknown] = read_report(path, spec())
    assert (unknown.row_id, unknown.known_at) == (event.row_id, None)


def test_rows_that_make_no_sense_may_be_read_unchecked_but_not_those_that_cannot_be_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", with_cell("clicks", "101"), with_cell("clicks", "many"))
    senseless, unreadable = read_report(path, spec(), checked=False)
    assert senseless.clicks == 101
    assert unreadable.code == "unreadable_number"


FIGURES = ["Impr. share", "Quality score", "Avg. position", "Budget", "Conv. value"]


def test_what_platforms_tell_beside_the_counts_comes_along(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv", [*GOOD, "45.3%", "7", "1.4", "50", "99.90"], header=[*SPEC[:-1], "Country", *FIGURES]
    )
    [event] = read_report(path, msgspec.structs.replace(guess_mapping(read_columns(path)), currency="EUR"))
    assert (event.impression_share, event.quality_score, event.average_position) == (0.453, 7.0, 1.4)
    assert (event.budget, event.value) == (Money.of(50, "EUR"), Money.of("99.90", "EUR"))


@pytest.mark.parametrize("text", ["--", "", "< 10%", "<10%", "> 90%"])
def test_a_share_that_the_platform_does_not_tell_is_missing_and_the_row_is_kept(tmp_path: Path, text: str) -> None:
    mapping = msgspec.structs.replace(spec(), impression_share="share")
    [event] = read_report(write(tmp_path / "a.csv", [*GOOD, text], header=[*SPEC, "share"]), mapping)
    assert event.impression_share is None


@pytest.mark.parametrize("text", ["45.3", "101%", "-1%", "most"])
def test_a_share_that_may_be_read_in_two_ways_is_not_guessed(tmp_path: Path, text: str) -> None:
    mapping = msgspec.structs.replace(spec(), impression_share="share")
    [row] = read_report(write(tmp_path / "a.csv", [*GOOD, text], header=[*SPEC, "share"]), mapping)
    assert row.code == "unreadable_number"


def test_usual_headers_are_recognised() -> None:
    assert guess_mapping(SPEC) == spec()
    google = guess_mapping(
        ["Day", "Campaign", "Ad group", "Search keyword", "Impr.", "Clicks", "Cost", "Conversions", "Conv. value"]
    )
    assert (google.date, google.ad_group_id, google.keyword, google.value) == (
        "Day",
        "Ad group",
        "Search keyword",
        "Conv. value",
    )


def test_a_header_that_cannot_be_understood_names_the_nearest_column() -> None:
    with pytest.raises(InvalidInput, match="The nearest is 'Impresions'"):
        guess_mapping(["date", "campaign", "Impresions", "clicks", "cost"])


def test_a_mapping_that_does_not_fit_the_file_is_an_error_before_any_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", GOOD)
    with pytest.raises(InvalidInput, match="perhaps 'spend'"):
        next(read_report(path, msgspec.structs.replace(spec(), spend="spent")))
    with pytest.raises(ConfigurationError, match="which year"):
        next(read_report(path, display_campaign_report()))
    with pytest.raises(ConfigurationError, match="time zone 'Mars'"):
        next(read_report(path, spec(timezone="Mars")))
    write(path, [*GOOD, "9"], header=[*SPEC, "clicks"])
    with pytest.raises(InvalidInput, match="'clicks' twice"):
        next(read_report(path, spec()))


def test_files_that_are_not_there_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="a CSV or Parquet file"):
        next(read_report(tmp_path / "a.csv", spec()))
    with pytest.raises(NotFound, match="a CSV or Parquet file"):
        next(read_report(tmp_path, spec()))
    (tmp_path / "a.parquet").write_text("no parquet at all")
    (tmp_path / "a.csv.gz").write_text("no gzip at all")
    whole = gzip.compress(",".join(SPEC).encode() + b"\n" + (",".join(GOOD).encode() + b"\n") * 9)
    (tmp_path / "b.csv.gz").write_bytes(whole[:-12])
    damaged = bytearray(gzip.compress(",".join(SPEC).encode() + b"\n" + b"".join(b"%d," % i for i in range(9_999))))
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    (tmp_path / "c.csv.gz").write_bytes(damaged)
    for name in ("a.parquet", "a.csv.gz", "b.csv.gz", "c.csv.gz"):
        with pytest.raises(CorruptArtifact, match=name):
            list(read_report(tmp_path / name, spec()))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InvalidInput, match="empty first line"):
        read_columns(tmp_path / "empty.csv")


def test_a_mapping_is_read_from_toml_and_an_unknown_key_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    text = 'date = "d"\ncurrency = "EUR"\ncampaign_id = "c"\nimpressions = "i"\nclicks = "k"\nspend = "s"\n[attributes]\nbanner = "b"\n'
    path.write_text(text)
    mapping = load_mapping(str(path), tmp_path, timezone=TIMEZONE, currency="USD")
    assert mapping.attributes == {"banner": "b"}
    assert (mapping.timezone, mapping.currency) == (TIMEZONE, "EUR")
    for wrong in ('colour = "red"\n' + text, "date = \n"):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError, match=r"mapping\.toml"):
            load_mapping(str(path), tmp_path)
    with pytest.raises(NotFound, match=r"nowhere\.toml"):
        load_mapping(str(tmp_path / "nowhere.toml"), tmp_path)


def test_a_mapping_is_known_by_name_or_guessed_and_takes_the_accounts_zone_and_currency(tmp_path: Path) -> None:
    report = write(tmp_path / "a.csv", GOOD)
    account = {"timezone": TIMEZONE, "currency": "EUR"}
    assert load_mapping("spec", report, **account) == spec(timezone=TIMEZONE, currency="EUR")
    assert load_mapping(None, report, **account) == load_mapping("spec", report, **account)
    assert load_mapping("display_campaign_report", report, year=2020).year == 2020


@pytest.mark.data
def test_the_real_report_keeps_two_rows_aside_and_repeats_five(data: Callable[[str], Path]) -> None:
    path = data("display_campaign_report") / "online_advertising_performance_data.csv.gz"
    told: list[float] = []
    rows = list(read_report(path, load_mapping(None, path, year=2020), told.append))
    assert Counter(row.code for row in rows if isinstance(row, Rejected)) == {"clicks_exceed_impressions": 2}
    events = [row for row in rows if isinstance(row, CampaignReported)]
    assert len(events) == 15_406
    assert len({event.event_id for event in events}) == 15_401
    assert sum(event.conversions > event.clicks for event in events) == 329
    # The totals of the data's own description, less the two rows: 99 displays and 139 clicks.
    assert sum(event.impressions for event in events) == 239_017_725 - 99
    assert sum(event.clicks for event in events) == 2_492_837 - 139
    assert {event.at.date() for event in events} >= {date(2020, 4, 1), date(2020, 6, 30)}
    assert told[-1] == 1.0


def test_a_conversion_that_a_platform_shares_out_among_clicks_counts_in_part(tmp_path: Path) -> None:
    report = tmp_path / "a.csv"
    report.write_text("Day,Campaign,Impr.,Clicks,Cost,Conversions\n2026-03-01,spring,1000,12,8.40,2.33\n")
    [event] = read_report(report, guess_mapping(report.read_text().splitlines()[0].split(",")))
    assert event.conversions == 2.33
