"""Files as batches: each is taken in once, goes on where it was cut off, and may have to pass a gate first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from bidloop.core.errors import RejectedRow
from bidloop.core.event import CampaignReported
from bidloop.events.intake import Intake, Receipt, Verdict
from bidloop.events.packing import Item
from bidloop.events.ports import EventLog, Kept, Offset, Quarantine
from bidloop.events.rejected import Rejected
from bidloop.events.restatement import Restatement

FAILED = "failed_batch"
CODES = {FAILED: "a file that does not look like what it should as a whole: nothing of it was taken in"}
"""The codes of this file."""

MAX_RAW = 10_000_000
"""A failed file of up to so many bytes is kept in the quarantine; of a larger one its place and its SHA-256."""


class Progress(msgspec.Struct, frozen=True):
    """How far a batch has been taken in: written in the same transaction as its last items.

    Parameters
    ----------
    items
        How many of its items are done.
    whole
        Whether these were all.
    """

    items: int = 0
    whole: bool = False


@dataclass(frozen=True)
class Taken:
    """What came of one batch.

    Parameters
    ----------
    receipt
        The count of this run.
    restated
        How many of the accepted ones tell a report row anew.
    resumed_at
        How many items an earlier run had done.
    before
        Whether an earlier run had done them all, and so nothing was read.
    """

    receipt: Receipt = field(default_factory=Receipt)
    restated: int = 0
    resumed_at: int = 0
    before: bool = False


class Batches:
    """Takes batches in, each in transactions of some items with the batch's progress in the same transaction.

    A run that was cut off is simply run again: it goes on where it was.

    Parameters
    ----------
    intake
        The door.
    log
        The log behind it.
    chunk
        Items per transaction.
    """

    def __init__(self, intake: Intake, log: EventLog, *, chunk: int) -> None:
        self._intake = intake
        self._log = log
        self._chunk = chunk

    def progress(self, fingerprint: str) -> Progress:
        """How far a batch of this fingerprint has been taken in."""
        position = self._log.offset(_source(fingerprint))
        return Progress() if position is None else msgspec.json.decode(position, type=Progress)

    def take(self, fingerprint: str, items: Iterable[Item], *, report: bool = False, again: bool = False) -> Taken:
        """Take in what is not done yet of a batch.

        Parameters
        ----------
        fingerprint
            Names the batch by its content and by how it is read: the same fingerprint brings the same items, in the same
            order.
        items
            All items of the batch.
        report
            Whether they are the rows of a report, which may restate what was told before.
        again
            Take in all of them, whatever was done before.
        """
        done = Progress() if again else self.progress(fingerprint)
        if done.whole:
            return Taken(before=True)
        restatement = Restatement(self._log.digests)
        stream = iter(items)
        restatement.remember(islice(stream, done.items))
        receipt, restated, position = Receipt(), 0, done.items
        chunk = list(islice(stream, self._chunk))
        while True:
            following = list(islice(stream, self._chunk))
            position += len(chunk)
            progress = msgspec.json.encode(Progress(position, whole=not following)).decode()
            resolved = restatement.resolve(chunk) if report else chunk
            verdicts = self._intake.take(resolved, offset=Offset(_source(fingerprint), progress))
            receipt += Receipt.of(verdicts)
            restated += sum(map(_restates, resolved, verdicts)) if report else 0
            if not following:
                return Taken(receipt, restated, resumed_at=done.items)
            chunk = following


@dataclass(frozen=True)
class Examination:
    """What a gate says of a batch.

    Parameters
    ----------
    failures
        A sentence for each expectation that the batch does not meet; none lets it pass.
    page
        Where the whole examination can be read.
    """

    failures: tuple[str, ...]
    page: Path


class BatchGate(Protocol):
    """Looks at a report as a whole before any of it is taken in."""

    def examine(self, name: str, rows: Iterable[Item]) -> Examination:
        """Examine the rows of one report, as they were read, before any of the checks of a single row."""
        ...


def failed_batch(file: Path, examination: Examination, mended_before: int = 0) -> Rejected:
    """The record of a file that did not pass: the whole file, or its place and SHA-256 where it is large.

    Its position is how often what failed in this place was mended before (`times_mended`), so that a file that fails just as
    it did then waits anew.
    """
    error = RejectedRow(
        FAILED,
        "; ".join(examination.failures),
        expected="a report that meets the expectations of a batch",
        remedy=f"Nothing of it was taken in. Read {examination.page}, mend the report and ingest it again.",
    )
    return Rejected.of(error, source=_place(file), raw=_raw(file), position=mended_before)


def failed_batches(quarantine: Quarantine) -> list[Kept]:
    """The files that failed and were not mended yet."""
    return quarantine.list(limit=1_000, code=FAILED)


def mended(quarantine: Quarantine, file: Path) -> None:
    """Note that a file was taken in, and so whatever failed in the same place before is mended."""
    if ids := [kept.id for kept in failed_batches(quarantine) if kept.row.source == _place(file)]:
        quarantine.settle(ids, "replayed")


def times_mended(quarantine: Quarantine, file: Path) -> int:
    """How many failures in the place of a file are mended."""
    failures = quarantine.list(limit=1_000, code=FAILED, state="replayed")
    return sum(kept.row.source == _place(file) for kept in failures)


def _source(fingerprint: str) -> str:
    return f"file:{fingerprint}"


def _restates(item: Item, verdict: Verdict) -> bool:
    return isinstance(item, CampaignReported) and verdict.status == "accepted" and item.event_id != item.row_id


def _place(file: Path) -> str:
    # The whole path: reports of two platforms are often called the same, and one must not stand for the other.
    return str(file.resolve())


def _raw(file: Path) -> bytes:
    if file.stat().st_size <= MAX_RAW:
        return file.read_bytes()
    with file.open("rb") as content:
        return f"{_place(file)} sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}".encode()
