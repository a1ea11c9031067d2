"""Files of somebody's log, taken in: each once, and on from where it was cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from rich.markup import escape

from bidloop.adapters.campaign_report.mapping import load_mapping
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.adapters.ipinyou.reader import CURRENCY, TIMEZONE, read_events
from bidloop.adapters.ipinyou.sampling import sampling_weights
from bidloop.adapters.ndjson.reader import read_told
from bidloop.app.files import ENDINGS, files_at, fingerprint, is_events, is_report, size_of, spelled
from bidloop.app.terminal import out, print_table, progress
from bidloop.app.wiring import House
from bidloop.core.errors import ConfigurationError, CorruptArtifact, InvalidInput
from bidloop.events.batches import Batches, BatchGate, Examination, Taken, failed_batch, mended, times_mended
from bidloop.events.packing import Item

OnShare: TypeAlias = Callable[[float], None]


@dataclass(frozen=True)
class Ingested:
    """What came of one file, or of one folder of an iPinYou log.

    Parameters
    ----------
    path
        Where it is.
    state
        ``before``: an earlier run took it in, and nothing was done. ``failed``: it did not pass the gate, and nothing of it was
        taken in. ``unreadable``: its columns cannot be told, or it is damaged. ``skipped``: its ending is unknown.
    accepted, restated, duplicates, rejected
        Events that are new; how many of them restate a report row; events that were known; rows kept aside, by code.
    resumed_at
        How many of its items an earlier run had done.
    failures, page
        Why it failed or cannot be read, and where to read what the gate found.
    """

    path: str
    state: Literal["taken", "before", "failed", "unreadable", "skipped"]
    accepted: int = 0
    restated: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    resumed_at: int = 0
    failures: tuple[str, ...] = ()
    page: str = ""


@dataclass(frozen=True)
class Ingestion:
    """What came of all files together; `files` tells it of each."""

    accepted: int
    restated: int
    duplicates: int
    rejected: dict[str, int]
    files: tuple[Ingested, ...]

    @classmethod
    def of(cls, files: Sequence[Ingested]) -> Ingestion:
        """The sum over files."""
        rejected: Counter[str] = Counter()
        for file in files:
            rejected.update(file.rejected)
        return cls(
            accepted=sum(file.accepted for file in files),
            restated=sum(file.restated for file in files),
            duplicates=sum(file.duplicates for file in files),
            rejected=dict(rejected),
            files=tuple(files),
        )

    @property
    def failed(self) -> list[Ingested]:
        """The files that did not pass the gate or cannot be read."""
        return [file for file in self.files if file.state in ("failed", "unreadable")]


def ingest_files(
    house: House,
    paths: Sequence[Path],
    *,
    mapping: str | None = None,
    year: int | None = None,
    known_at: datetime | None = None,
    again: bool = False,
) -> Ingestion:
    """Take in files and folders of files in the order of their names, with a progress bar over their bytes.

    One of several that cannot be read does not keep the others out.

    Parameters
    ----------
    paths
        Campaign reports, files of events, folders of an iPinYou log, and folders of all these.
    mapping, year
        How reports are read (`bidloop.adapters.campaign_report.mapping.load_mapping`).
    known_at
        When reports were pulled; by default now.
    again
        Read also what was taken in before.

    Raises
    ------
    NotFound
        When there is nothing at a path, or nothing to read in a folder.
    InvalidInput
        When a file that was named is of no known kind, the columns of the only file cannot be told, or `known_at` is ahead.
    CorruptArtifact
        When the only file is damaged.
    ConfigurationError
        When a log is in another currency than the account, or the gate is not installed.
    """
    if known_at is not None and known_at > house.clock.now() + timedelta(
        hours=house.settings.events.future_tolerance_hours
    ):
        # Or each of its rows would be kept aside by itself.
        raise InvalidInput(
            f"reports pulled at {known_at.isoformat()}", path="known_at", expected="an instant that has come"
        )
    files = [file for path in paths for file in files_at(path)]
    sizes = [size_of(file) for file in files]
    desk = _Desk(house, mapping=mapping, year=year, known_at=known_at, again=again)
    done, results = 0, list[Ingested]()
    with progress("Reading", max(1, sum(sizes))) as bar:
        for file, size in zip(files, sizes, strict=True):

            def told(share: float, file: Path = file, size: int = size, done: int = done) -> None:
                bar(done + share * size, spelled(file).rpartition("/")[2])

            told(0.0)
            try:
                results.append(desk.take(file, told))
            except (InvalidInput, CorruptArtifact) as error:
                if len(files) == 1:
                    raise
                results.append(Ingested(spelled(file), "unreadable", failures=(str(error),)))
            told(1.0)
            done += size
    return Ingestion.of(results)


def print_ingestion(told: Ingestion) -> None:
    """Print what was taken in for a person: the files where there are several, the sums, and what went wrong."""
    if len(told.files) > 1:
        rows = [
            {"file": f.path, "state": _STATES[f.state], "accepted": f.accepted, "kept aside": sum(f.rejected.values())}
            for f in told.files
        ]
        print_table("Files", rows)
    sums = [
        {"what": "accepted", "events": told.accepted},
        {"what": "of them restated", "events": told.restated},
        {"what": "already known", "events": told.duplicates},
        *({"what": f"kept aside: {code}", "events": n} for code, n in sorted(told.rejected.items())),
    ]
    print_table(f"Ingested {told.files[0].path}" if len(told.files) == 1 else "Ingested", sums)
    for file in told.files:
        if file.resumed_at:
            out.print(f"{escape(file.path)} went on behind its first {file.resumed_at:,} rows.")
        for failure in file.failures:
            out.print(f"{escape(file.path)}: {escape(failure)}")
        if file.page:
            out.print(f"Nothing of it was taken in. Read {escape(file.page)}, mend the report and ingest it again.")
    if any(file.state == "before" for file in told.files):
        out.print("What was taken in before is not read again without --again.")
    if any(file.state == "skipped" for file in told.files):
        out.print(f"What is skipped ends on none of {ENDINGS}.")


_STATES = {
    "taken": "taken in",
    "before": "taken in before",
    "failed": "failed as a whole",
    "unreadable": "unreadable",
    "skipped": "skipped",
}


class _Desk:
    """Takes one file after another, each by its kind."""

    def __init__(
        self, house: House, *, mapping: str | None, year: int | None, known_at: datetime | None, again: bool
    ) -> None:
        self._house = house
        self._settings = house.settings
        self._mapping = mapping
        self._year = year
        self._known_at = known_at
        self._again = again
        self._batches = Batches(house.intake, house.log, chunk=house.settings.events.chunk)
        self._gate = _gate(house)

    def take(self, file: Path, told: OnShare) -> Ingested:
        try:
            return self._take(file, told)
        except OSError as error:
            raise CorruptArtifact(f"file {spelled(file)!r}: {error}", expected="a file that can be read") from error

    def _take(self, file: Path, told: OnShare) -> Ingested:
        if not (file.is_dir() or is_report(file) or is_events(file)):
            return Ingested(spelled(file), "skipped")
        if spelled(file) != str(file):
            raise InvalidInput(
                f"a name that is not UTF-8: {spelled(file)}", expected="one in UTF-8", remedy="Rename the file."
            )
        if file.is_dir():
            return self._ipinyou(file, told)
        if is_report(file):
            return self._report(file, told)
        items = read_told(file, self._house.reception, told)
        return _result(file, self._batches.take(fingerprint(file, b"told"), items, again=self._again))

    def _report(self, file: Path, told: OnShare) -> Ingested:
        columns = load_mapping(
            self._mapping, file, year=self._year, timezone=self._settings.timezone, currency=self._settings.currency
        )
        # The same bytes that were pulled at another time are another telling, if the user says when.
        name = fingerprint(file, msgspec.json.encode((columns, self._known_at)))
        if self._gate is not None and (self._again or not self._batches.progress(name).whole):
            examination = self._gate.examine(file.name, read_report(file, columns, checked=False))
            if examination.failures:
                return self._failed(file, examination)
        items = read_report(file, columns, told, known_at=self._known_at or self._house.clock.now())
        taken = self._batches.take(name, items, report=True, again=self._again)
        mended(self._house.quarantine, file)
        return _result(file, taken)

    def _failed(self, file: Path, examination: Examination) -> Ingested:
        row = failed_batch(file, examination, times_mended(self._house.quarantine, file))
        self._house.intake.take([row])
        return Ingested(
            str(file),
            "failed",
            rejected={row.code: 1},
            failures=examination.failures,
            page=str(examination.page),
        )

    def _ipinyou(self, folder: Path, told: OnShare) -> Ingested:
        if self._settings.currency != CURRENCY:
            raise ConfigurationError(
                f"an iPinYou log, which is in {CURRENCY}, for an account in {self._settings.currency}",
                expected=f"an account in {CURRENCY}",
                remedy=f"Set currency = {CURRENCY!r} and timezone = {TIMEZONE!r} in bidloop.toml.",
            )
        weights = sampling_weights(folder)
        name = fingerprint(folder, msgspec.json.encode(weights))
        items: Iterator[Item] = read_events(folder, told, weights=weights)
        return _result(folder, self._batches.take(name, items, again=self._again))


def _gate(house: House) -> BatchGate | None:
    if not house.settings.events.expectations:
        return None
    from bidloop.adapters.great_expectations.batch_gate import GreatExpectationsGate

    sensible = msgspec.structs.replace(house.settings.events, currency=house.settings.currency)
    return GreatExpectationsGate(house.home / "expectations", house.clock, sensible)


def _result(path: Path, taken: Taken) -> Ingested:
    receipt = taken.receipt
    return Ingested(
        str(path),
        "before" if taken.before else "taken",
        accepted=receipt.accepted,
        restated=taken.restated,
        duplicates=receipt.duplicates,
        rejected=receipt.rejected,
        resumed_at=taken.resumed_at,
    )
