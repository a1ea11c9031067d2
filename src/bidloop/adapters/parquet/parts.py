"""The part files of the history: named by the positions of the log that they hold, and never half written.

A part ``events-v2-000000000001-000000060047.parquet`` holds every event of the log from the first position to the second, in
the columns of version 2. It is written beside its place and then renamed, so that a file with such a name is whole. A small
last part is written anew together with what follows it; until the old one is deleted both are there, and the one inside the
other is not read. Neither are parts of another version.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from bidloop.adapters.parquet.rows import VERSION

_NAME = re.compile(rf"events-v{VERSION}-(\d{{12}})-(\d{{12}})\.parquet")


class Part(NamedTuple):
    """One part file and the log positions, both included, that it holds."""

    first: int
    last: int
    path: Path


def find_parts(folder: Path) -> tuple[list[Part], list[Path]]:
    """The parts to read, in order, and the files that can be deleted.

    Those are parts inside another one, parts of another version, and files that were never finished.
    """
    found: list[Part] = []
    dead = list(folder.glob("events-*.half"))
    for path in folder.glob("events-*.parquet"):
        if match := _NAME.fullmatch(path.name):
            found.append(Part(int(match[1]), int(match[2]), path))
        else:
            dead.append(path)
    live: list[Part] = []
    for part in sorted(found, key=lambda part: (part.first, -part.last)):
        if live and part.last <= live[-1].last:
            dead.append(part.path)
        else:
            live.append(part)
    return live, dead


def write_part(folder: Path, table: pa.Table, first: int, last: int) -> Part:
    """Write the rows of one part under the name of its positions; whole, or not at all."""
    path = folder / f"events-v{VERSION}-{first:012d}-{last:012d}.parquet"
    half = path.with_suffix(".half")
    pq.write_table(table, half, compression="zstd")
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.replace(path)
    return Part(first, last, path)
