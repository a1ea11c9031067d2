"""The rows of a report file as text, whatever the file's format."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from bidloop.core.errors import CorruptArtifact, InvalidInput, NotFound

_SNIFFED = 1 << 16


def read_columns(path: Path) -> list[str]:
    """The names of a report's columns.

    Raises
    ------
    NotFound
        When there is no such file.
    InvalidInput
        When the file has no header, or one that is not UTF-8.
    CorruptArtifact
        When the file is not what its ending says.
    """
    with _errors(path):
        if _is_parquet(path):
            return [str(name) for name in pq.read_schema(path).names]
        with path.open("rb") as raw, _text(path, raw) as text:
            columns = next(_csv(text, path))[1]
    try:
        "".join(columns).encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"bytes that are not UTF-8 in the first line of {str(path)!r}",
            expected="a file in UTF-8",
            remedy="Export it as CSV in UTF-8; 'CSV for Excel' is often UTF-16.",
        ) from error
    return columns


def read_rows(path: Path, on_progress: Callable[[float], None] | None = None) -> Iterator[tuple[int, list[str], bytes]]:
    """Line number, cells and raw bytes of every row behind the header; cells of a Parquet file as text.

    A row may have more or fewer cells than the header. Its number is the line that it ends on, or the row of a Parquet
    file, counted with the header. Bytes of a cell that are not UTF-8 are lone surrogates in its text (PEP 383).
    """
    with _errors(path):
        yield from _parquet_rows(path, on_progress) if _is_parquet(path) else _csv_rows(path, on_progress)


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in {".parquet", ".pq"}


def _csv_rows(path: Path, on_progress: Callable[[float], None] | None) -> Iterator[tuple[int, list[str], bytes]]:
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw, _text(path, raw) as text:
        rows = _csv(text, path)
        next(rows)
        for done, (number, cells, line) in enumerate(rows, start=1):
            yield number, cells, line.encode("utf-8", "surrogateescape")
            if on_progress is not None and done % 5_000 == 0:
                on_progress(raw.tell() / size)
    if on_progress is not None:
        on_progress(1.0)


@contextmanager
def _text(path: Path, raw: IO[bytes]) -> Iterator[IO[str]]:
    plain = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
    with io.TextIOWrapper(plain, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield text


def _csv(text: IO[str], path: Path) -> Iterator[tuple[int, list[str], str]]:
    """Number, cells and text of every row that is not blank; the header first."""
    head = text.readline(_SNIFFED)
    delimiter = max(",;\t", key=head.count)
    if not head.strip():
        raise InvalidInput(f"an empty first line in {str(path)!r}", expected="a header with the names of the columns")
    lines = _Lines(chain((head,), text))
    reader = csv.reader(lines, delimiter=delimiter, strict=False)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = [f"unreadable: {error}"]
        line = lines.since()
        if cells:
            yield reader.line_num, cells, line


class _Lines:
    """Hands lines on, and remembers those that the row at hand was read from."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._since: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._since.append(line)
        return line

    def since(self) -> str:
        """The text since this was last asked, without the end of its last line."""
        text = "".join(self._since).rstrip("\r\n")
        self._since.clear()
        return text


def _parquet_rows(path: Path, on_progress: Callable[[float], None] | None) -> Iterator[tuple[int, list[str], bytes]]:
    with pq.ParquetFile(path) as file:
        number, total = 1, max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=5_000):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                cells = [_cell(value) for value in row]
                yield number, cells, msgspec.json.encode(cells)
            if on_progress is not None:
                on_progress((number - 1) / total)


def _cell(value: object) -> str:
    """A value of a Parquet file as a CSV would hold it."""
    if value is None:
        return ""
    if isinstance(value, bytes):  # text that its writer did not mark as such
        return value.decode("utf-8", "backslashreplace")
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat()) if isoformat is not None else str(value)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"no file {str(path)!r}", expected="a CSV or Parquet file", remedy="Check the path.") from error
    except (gzip.BadGzipFile, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise CorruptArtifact(
            f"file {str(path)!r}: {error}", expected="a whole file of the format that its ending names"
        ) from error
