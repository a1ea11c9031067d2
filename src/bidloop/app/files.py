"""The files to take in: which there are at a path, how large each is, and how it is known again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import xxhash

from bidloop.adapters.ipinyou.files import files as ipinyou_files
from bidloop.core.errors import InvalidInput, NotFound

_REPORTS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet", ".pq")
_EVENTS = (".ndjson", ".ndjson.gz", ".jsonl", ".jsonl.gz")
ENDINGS = ", ".join(_REPORTS + _EVENTS)


def is_report(file: Path) -> bool:
    """Whether a file is a campaign report, by its ending."""
    return file.name.lower().endswith(_REPORTS)


def is_events(file: Path) -> bool:
    """Whether a file holds events as senders tell them, by its ending."""
    return file.name.lower().endswith(_EVENTS)


def files_at(path: Path) -> list[Path]:
    """The files at a path, in the order of their names; an iPinYou log is its folder. Hidden ones are passed over.

    Raises
    ------
    NotFound
        When there is nothing at the path, or nothing to read in the folder.
    InvalidInput
        When it is a file of no known ending. In a folder such a file is found like the others.
    """
    if not path.exists():
        raise NotFound(f"nothing at {path}", expected="a file or folder of reports or events", remedy="Check the path.")
    if not path.is_dir():
        if not _is_known(path):
            raise InvalidInput(f"a file {path.name!r}", path=str(path), expected=f"one that ends on {ENDINGS}")
        return [path]
    files = list(_walk(path))
    if not any(map(_is_known, files)):
        raise NotFound(f"nothing to read in {path}", expected=f"files that end on {ENDINGS}, or an iPinYou log")
    return files


def spelled(file: Path) -> str:
    r"""A path as text that can be printed and stored: bytes of its name that are not UTF-8 are told as such.

    >>> spelled(Path("r\udcfcckblick.csv"))
    'r\\xfcckblick.csv'
    """
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def size_of(file: Path) -> int:
    """Bytes of a file, or of the files of an iPinYou log."""
    return sum(part.stat().st_size for part in _parts(file))


def fingerprint(file: Path, reading: bytes) -> str:
    """A hash of what is in a file, or in an iPinYou log, and of how it is read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "report.csv"
    ...     _ = file.write_text("a,b")
    ...     fingerprint(file, b"as a report")
    'cd4d9504694e475b82b84a60629e5ed9'
    """
    hasher = xxhash.xxh3_128(reading)
    for part in _parts(file):
        if part != file:
            hasher.update(f"\0{part.name}\0{part.stat().st_size}\0".encode())
        with part.open("rb") as content:
            while block := content.read(1 << 20):
                hasher.update(block)
    return hasher.hexdigest()


def _is_known(file: Path) -> bool:
    return file.is_dir() or is_report(file) or is_events(file)


def _walk(folder: Path) -> Iterator[Path]:
    if ipinyou_files(folder, "imp"):
        yield folder
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():  # a link may lead back to where it is
            yield from _walk(entry)
        elif entry.is_file():
            yield entry


def _parts(file: Path) -> list[Path]:
    if not file.is_dir():
        return [file]
    return [part for kind in ("imp", "clk", "conv") for part in ipinyou_files(file, kind)]
