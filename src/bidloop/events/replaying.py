"""What makes no sense today may make sense after a fix: rows from the quarantine taken in after all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from bidloop.core.errors import CorruptArtifact
from bidloop.core.event import Event
from bidloop.events.intake import Intake, Verdict
from bidloop.events.packing import Item, unpack
from bidloop.events.ports import Kept, Quarantine
from bidloop.events.reception import Reception
from bidloop.events.rejected import Rejected
from bidloop.events.sealing import Seal

_event: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)

NOT_REPLAYABLE = Verdict(
    "rejected", "row_of_a_file", "a row of a file is mended in the file, which is then ingested again"
)
NOT_KEPT = Verdict("rejected", "bytes_not_kept", "its bytes were not kept, or are sealed with another key")


@dataclass(frozen=True)
class Replayed:
    """What became of one row of the quarantine."""

    kept: Kept
    verdicts: tuple[Verdict, ...]

    @property
    def settled(self) -> bool:
        """Whether nothing of it has to wait any longer."""
        return all(verdict.status != "rejected" for verdict in self.verdicts)


class Replay:
    """Takes rows of the quarantine in again; what still makes no sense stays there, and a second time changes nothing.

    Parameters
    ----------
    quarantine
        Where the rows wait.
    reception, intake
        The way in, as for a new event.
    seal
        Opens what a stream's entry holds sealed.
    """

    def __init__(self, quarantine: Quarantine, reception: Reception, intake: Intake, seal: Seal) -> None:
        self._quarantine = quarantine
        self._reception = reception
        self._intake = intake
        self._seal = seal

    def replay(self, rows: Sequence[Kept], on_progress: Callable[[int], None] | None = None) -> list[Replayed]:
        """Try each row again.

        A row that is taken in, or turns out to be in the log already, is noted as replayed. One that fails for another
        reason now is kept under that reason too.

        Parameters
        ----------
        on_progress
            Told the number of rows done so far.
        """
        done: list[Replayed] = []
        for kept in rows:
            replayed = Replayed(kept, tuple(self._once(kept.row)))
            if replayed.settled:
                self._quarantine.settle([kept.id], "replayed")
            done.append(replayed)
            if on_progress is not None:
                on_progress(len(done))
        return done

    def _once(self, row: Rejected) -> list[Verdict]:
        if not row.raw:
            return [NOT_KEPT]
        match row.form:
            case "told":
                return self._intake.take([self._reception.receive(row.raw, source=row.source, position=row.position)])
            case "event":
                return self._event(row)
            case "entry":
                return self._entry(row)
            case "row":
                return [NOT_REPLAYABLE]

    def _entry(self, row: Rejected) -> list[Verdict]:
        """Line by line: what only a lost key opens must not keep the other lines out."""
        items: list[Item] = []
        shut: list[Verdict] = []
        for line in row.raw.split(b"\n"):
            try:
                items += unpack(line, self._seal, source=row.source)
            except CorruptArtifact:
                shut.append(NOT_KEPT)
        return [*self._intake.take(items), *shut]

    def _event(self, row: Rejected) -> list[Verdict]:
        try:
            event = _event.decode(row.raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            return [Verdict("rejected", "unreadable_event", str(error))]
        return self._intake.take([event])
