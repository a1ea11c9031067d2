"""The traps of the iPinYou log, on small files and on the real one."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from bidloop.adapters.ipinyou.files import COLUMNS
from bidloop.adapters.ipinyou.reader import ATTRIBUTES, MEASURES, find_days, read_events
from bidloop.adapters.ipinyou.sampling import DAYS, OVERALL_WEIGHT, sampling_weights
from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.core.event import ClickReceived, ConversionReported, ImpressionServed
from bidloop.core.money import Money
from bidloop.events.rejected import Rejected

ROW = {
    "bidid": "b", "timestamp": "20130607005405602", "logtype": "1", "ipinyouid": "SECRET-user", "useragent": "SECRET-agent",
    "ip": "SECRET-ip", "region": "15", "city": "16", "adexchange": "1", "domain": "d", "url": "null", "urlid": "null",
    "slotid": "s", "slotwidth": "300", "slotheight": "250", "slotvisibility": "0", "slotformat": "1", "slotprice": "50",
    "creative": "c", "bidprice": "227", "payprice": "119", "keypage": "k", "advertiser": "3358", "usertag": "SECRET-tag",
}  # fmt: skip


def line(**changes: str) -> str:
    return "\t".join((ROW | changes)[name] for name in COLUMNS) + "\n"


def write(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    with gzip.open(folder / f"{name}.txt.gz", "wt", encoding="utf-8", newline="") as file:
        file.writelines(lines)


def read(folder: Path, **options: object) -> list[object]:
    return list(read_events(folder, **options))


def test_a_row_becomes_an_impression_in_utc_with_its_price_per_impression(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line())
    [shown] = read(tmp_path, weights={"3358": 290.5})
    assert isinstance(shown, ImpressionServed)
    assert shown.event_id == "ipinyou:imp:b"
    assert shown.at == datetime(2013, 6, 6, 16, 54, 5, 602000, tzinfo=UTC)
    assert shown.price == Money.of("0.00119", "CNY")
    assert shown.weight == 290.5
    about = shown.opportunity
    assert about is not None
    assert (about.opportunity_id, about.campaign_id, about.location, about.currency) == ("b", "3358", "15", "CNY")
    assert tuple(about.attributes) == ATTRIBUTES
    assert about.attributes["slot_size"] == "300x250"
    assert about.attributes["url"] == ""
    assert tuple(about.measures) == MEASURES
    assert about.measures["slot_floor"] == 0.5
    assert about.floor == Money.of("0.5", "CNY")
    assert (about.charge, about.auction) == ("per_mille", "second_price")


def test_nothing_that_leaks_the_label_or_names_the_user_is_kept(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line(), line(), line(bidid="x", slotwidth="wide"))
    events = read(tmp_path)
    assert len(events) == 3
    assert "SECRET" not in str(events)
    assert "227" not in str(events[0])  # the bid price


def test_a_clicked_impression_of_the_sample_weighs_one_and_keeps_its_price(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line(), line(bidid="c"))
    write(tmp_path, "clk.20130608", line(timestamp="20130608000000000", payprice="0"))
    shown, other, click = read(tmp_path)
    assert (shown.weight, shown.price) == (1.0, Money(1190, "CNY"))
    assert other.weight == OVERALL_WEIGHT
    assert click == ClickReceived(event_id="ipinyou:clk:b", at=datetime(2013, 6, 7, 16, tzinfo=UTC), impression_id="b")


def test_a_click_outside_the_sample_brings_its_impression_without_a_price(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line(bidid="c"))
    write(tmp_path, "clk.20130607", line(payprice="0"))
    _, shown, click = sorted(read(tmp_path), key=lambda event: event.impression_id != "c")
    assert (shown.impression_id, shown.weight, shown.price, shown.at) == ("b", 1.0, None, click.at)


def test_the_first_click_and_conversion_of_a_bid_count_and_the_rest_are_handed_on(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line(), line(timestamp="20130607005400000"))
    write(tmp_path, "clk.20130607", line(timestamp="20130607010000000"), line(timestamp="20130607005900000"))
    write(tmp_path, "conv.20130607", line(timestamp="20130607020000000"), line(timestamp="20130607020000000"))
    events = read(tmp_path)
    kept = [event for event in events if not isinstance(event, Rejected)]
    assert [type(event) for event in kept] == [ImpressionServed, ClickReceived, ConversionReported]
    assert kept[0].at.second == 0
    assert kept[1].at.minute == 59
    assert Counter(row.code for row in events if isinstance(row, Rejected)) == {
        "repeated_impression": 1, "repeated_click": 1, "repeated_conversion": 1,
    }  # fmt: skip


def test_rows_that_cannot_be_read_are_handed_on_with_file_and_line(tmp_path: Path) -> None:
    write(
        tmp_path, "imp.20130607", line(), "b\ttwo\n", line(bidid="t", timestamp="20130631000000000"),
        line(bidid="p", payprice="-1"), line(bidid="q", payprice="null"), line(bidid="", slotid="x"), "\n",
    )  # fmt: skip
    events = read(tmp_path)
    rejected = {(row.position, row.code) for row in events if isinstance(row, Rejected)}
    assert rejected == {
        (2, "wrong_columns"), (3, "unknown_date"), (4, "negative_spend"), (5, "unreadable_number"), (6, "empty_id"),
        (7, "wrong_columns"),
    }  # fmt: skip
    assert {row.source for row in events if isinstance(row, Rejected)} == {"imp.20130607.txt.gz"}
    assert next(row.raw for row in events if isinstance(row, Rejected) and row.position == 2) == b"b\ttwo"


def test_a_row_without_the_user_tags_at_its_end_is_read(tmp_path: Path) -> None:
    write(tmp_path, "imp.20130607", line().rsplit("\t", 1)[0] + "\n")
    assert isinstance(read(tmp_path)[0], ImpressionServed)


def test_plain_files_are_read_like_compressed_ones_and_midnight_is_not(tmp_path: Path) -> None:
    write(tmp_path / "midnight", "imp.20130608", line(bidid="m"))
    (tmp_path / "imp.20130607.txt").write_text(line())
    assert find_days(tmp_path) == ["20130607"]
    assert [event.impression_id for event in read(tmp_path)] == ["b"]


def test_a_folder_without_the_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no impressions"):
        read(tmp_path)
    with pytest.raises(NotFound, match="no folder"):
        read(tmp_path / "nowhere")


def test_weights_need_all_seven_days_and_the_totals(tmp_path: Path) -> None:
    folder, totals = tmp_path / "log", tmp_path / "ipinyou_rlb_dp"
    for day in DAYS:
        write(folder, f"imp.{day}", line(bidid=f"a{day}"), line(bidid=f"z{day}", advertiser="1"))
    write(folder, "clk.20130606", line(bidid="a20130606"))
    assert sampling_weights(folder) == {}
    (totals / "3358").mkdir(parents=True)
    (totals / "3358" / "info.json").write_bytes(msgspec.json.encode({"imp_train": 1_210, "clk_train": 10, "more": 1}))
    assert sampling_weights(folder) == {"3358": 200.0}
    weights = {event.weight for event in read(folder) if isinstance(event, ImpressionServed)}
    assert weights == {1.0, 200.0, OVERALL_WEIGHT}
    (totals / "3358" / "info.json").write_text("{}")
    with pytest.raises(CorruptArtifact, match="imp_train"):
        sampling_weights(folder)
    (folder / "imp.20130612.txt.gz").unlink()
    assert sampling_weights(folder) == {}


@pytest.mark.data
def test_the_real_log_has_the_click_rate_of_the_full_log(data: Callable[[str], Path]) -> None:
    folder = data("ipinyou_season2")
    data("ipinyou_rlb_dp")
    told: list[float] = []
    events = list(read_events(folder, told.append))
    counts = Counter(e.code if isinstance(e, Rejected) else type(e).__name__ for e in events)
    assert counts == {
        "ImpressionServed": 50_805, "ClickReceived": 8_838, "ConversionReported": 404,
        "repeated_click": 1_140, "repeated_conversion": 90, "repeated_impression": 1,
    }  # fmt: skip
    assert len({e.event_id for e in events if not isinstance(e, Rejected)}) == 60_047
    clicked = {e.impression_id for e in events if isinstance(e, ClickReceived)}
    shown = [e for e in events if isinstance(e, ImpressionServed)]
    unclicked = [e for e in shown if e.impression_id not in clicked]
    assert len(unclicked) == 41_967
    assert all(285 < e.weight < 305 and e.price is not None for e in unclicked)
    assert sum(e.price is not None for e in shown if e.impression_id in clicked) == 32
    assert 100 * len(clicked) / sum(e.weight for e in shown) == pytest.approx(0.0722, abs=0.0001)
    assert told[-1] == 1.0
    assert len(told) == 7
