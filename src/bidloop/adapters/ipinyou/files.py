"""The log's files: one per kind and day, tab-separated, without a header."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from bidloop.core.errors import NotFound

COLUMNS = (
    "bidid", "timestamp", "logtype", "ipinyouid", "useragent", "ip", "region", "city", "adexchange", "domain", "url",
    "urlid", "slotid", "slotwidth", "slotheight", "slotvisibility", "slotformat", "slotprice", "creative", "bidprice",
    "payprice", "keypage", "advertiser", "usertag",
)  # fmt: skip
"""Names of the 24 columns, as in the log's ``schema.txt``."""

NEEDED = COLUMNS.index("usertag")
"""A row must reach at least this column. The last one, `usertag`, is never read, and one real row lacks it."""

ADVERTISER = COLUMNS.index("advertiser")
BIDID = COLUMNS.index("bidid")

PERSONAL = tuple(COLUMNS.index(name) for name in ("ipinyouid", "useragent", "ip", "usertag"))
"""Columns about the person; blanked before a row is kept aside."""


def files(folder: Path, kind: str, day: str = "*") -> list[Path]:
    """The files of one kind (``imp``, ``clk`` or ``conv``), in the order of their days.

    Raises
    ------
    NotFound
        When there is no such folder.
    """
    if not folder.is_dir():
        raise NotFound(f"no folder {str(folder)!r}", expected="the folder with imp.*, clk.* and conv.* files")
    return sorted(path for path in folder.glob(f"{kind}.{day}.txt*") if path.suffix in {".txt", ".gz"})


def day_of(path: Path) -> str:
    """The day in a file's name: ``20130606`` of ``imp.20130606.txt.gz``."""
    return path.name.split(".")[1]


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of one file, gzip or plain, with their numbers from 1, split at the tabs."""
    # Bytes that are not UTF-8 occur in user agents alone, which are never read.
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.rstrip("\r\n").split("\t")


def bids(folder: Path, kind: str) -> set[str]:
    """The bid ids in all files of one kind."""
    return {row[BIDID] for path in files(folder, kind) for _, row in rows(path)}


def raw(row: list[str]) -> str:
    """The row as it may be kept: without what is about the person."""
    return "\t".join("" if i in PERSONAL else value for i, value in enumerate(row))
