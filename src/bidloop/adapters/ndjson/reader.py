"""Reads a file of told events, one per line."""

from __future__ import annotations

import gzip
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bidloop.core.errors import CorruptArtifact, NotFound
from bidloop.events.packing import Item
from bidloop.events.reception import Reception


def read_told(path: Path, reception: Reception, on_progress: Callable[[float], None] | None = None) -> Iterator[Item]:
    """Every event of a file in the form in which senders tell events, or the reason why it makes no sense.

    People are pseudonyms in what comes out, as at every other door.

    Parameters
    ----------
    path
        One JSON object a line (``.ndjson``, ``.jsonl``; also ``.gz``). Blank lines are passed over.
    reception
        Reads, checks and takes the people out of each.
    on_progress
        Told the share of the file that is read, in (0, 1], every few thousand lines.

    Raises
    ------
    NotFound
        When there is no such file.
    CorruptArtifact
        When a compressed file is cut off or is none.

    Examples
    --------
    >>> import tempfile
    >>> from bidloop.core.clock import SystemClock
    >>> from bidloop.events.privacy import Privacy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "events.ndjson"
    ...     _ = file.write_text('{"type": "click_received", "at": "2026-03-01T12:00:00Z", "impressionId": "i1"}')
    ...     [row] = read_told(file, Reception(Privacy(bytes(32)), SystemClock()))
    >>> row.position, row.reason
    (1, 'no eventId; expected a value for eventId')
    """
    with _errors(path), path.open("rb") as raw:
        size = max(1, path.stat().st_size)
        with gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw as lines:
            for number, line in enumerate(lines, start=1):
                told = line.removeprefix(BOM_UTF8).strip() if number == 1 else line.strip()
                if told:
                    yield reception.receive(told, source=path.name, position=number)
                if on_progress is not None and number % 5_000 == 0:
                    on_progress(raw.tell() / size)
    if on_progress is not None:
        on_progress(1.0)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no file {str(path)!r}", expected="a file of events", remedy="Check the path.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CorruptArtifact(f"file {str(path)!r}: {error}", expected="a whole gzip file") from error
