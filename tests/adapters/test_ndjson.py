"""Files of events as senders tell them."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bidloop.adapters.ndjson.reader import read_told
from bidloop.core.clock import ManualClock
from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.core.event import ClickReceived
from bidloop.events.privacy import Privacy
from bidloop.events.reception import Reception
from bidloop.events.rejected import Rejected

NOW = datetime(2026, 3, 2, tzinfo=UTC)
CLICK = (
    b'{"type": "click_received", "eventId": "c%d", "at": "2026-03-01T12:00:00Z", "impressionId": "i1", '
    b'"userId": "anna", "consent": true}'
)
RECEPTION = Reception(Privacy(bytes(32)), ManualClock(NOW))


def test_every_line_is_an_event_or_says_why_it_is_none(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + CLICK % 1 + b"\r\n\n{not json}\n  " + CLICK % 2)
    first, bad, last = read_told(file, RECEPTION)
    assert isinstance(first, ClickReceived)
    assert isinstance(last, ClickReceived)
    assert (first.event_id, last.event_id) == ("c1", "c2")
    assert isinstance(bad, Rejected)
    assert (bad.source, bad.position, bad.code, bad.raw, bad.form) == (
        "events.ndjson", 3, "not_json", b"{not json}", "told",
    )  # fmt: skip


def test_people_are_pseudonyms_in_what_comes_out(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(CLICK % 1)
    [event] = read_told(file, RECEPTION)
    assert "anna" not in str(event)
    assert event.user_id


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path) -> None:
    plain, packed = tmp_path / "events.jsonl", tmp_path / "events.jsonl.gz"
    plain.write_bytes(b"\n".join(CLICK % i for i in range(12_000)))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    shares: list[float] = []
    assert list(read_told(packed, RECEPTION, shares.append)) == list(read_told(plain, RECEPTION))
    assert len(shares) == 3
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_files_that_are_not_there_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file .*events\.ndjson"):
        list(read_told(tmp_path / "events.ndjson", RECEPTION))
    file = tmp_path / "events.ndjson.gz"
    file.write_bytes(gzip.compress(b"\n".join(CLICK % i for i in range(9)))[:-12])
    events = read_told(file, RECEPTION)
    with pytest.raises(CorruptArtifact, match=r"events\.ndjson\.gz"):
        list(events)
    file.write_bytes(CLICK % 1)
    with pytest.raises(CorruptArtifact, match="a whole gzip file"):
        list(read_told(file, RECEPTION))
