"""The bytes of a request: what they are declared as, how many there may be, and what they are once unpacked."""

from __future__ import annotations

import re
import zlib
from typing import Protocol

from starlette.requests import ClientDisconnect, Request

from bidloop.app.http.body import ROOT
from bidloop.app.http.problems import CUT_OFF, NOT_GZIP, TOO_LARGE, WRONG_MEDIA_TYPE, ApiError
from bidloop.app.http.schema import FieldError

PATIENCE = 8
"""A body too large is read to this many times the limit before it is refused, so that its sender is still listening."""

JSON = "application/json"
LINES = "application/x-ndjson"
_LINES = frozenset({LINES, "application/ndjson", "application/jsonl"})


async def read_body(request: Request, limit: int) -> bytes:
    """The bytes of a request that is declared as JSON and is not compressed.

    Raises
    ------
    ApiError
        When it is declared as something else, or is larger than `limit` bytes.
    """
    media, wrong = media_type(request)
    if not wrong and media != JSON:
        wrong.append(FieldError(path="Content-Type", found=f'"{media}"', expected=JSON))
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        wrong.append(FieldError(path="Content-Encoding", found=f'"{encoding[:100]}"', expected="no encoding"))
    if wrong:
        raise ApiError(WRONG_MEDIA_TYPE, wrong)
    return await _received(request, limit, Plain(limit))


async def read_events(request: Request, limit: int) -> tuple[str, bytes]:
    """The media type, `JSON` or `LINES`, and the unpacked bytes of a request that tells events, compressed or not.

    Raises
    ------
    ApiError
        When it is declared as something else, is larger than `limit` bytes before or after unpacking, or is no gzip.
    """
    media, wrong = media_type(request, takes=f"{JSON} or {LINES}")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        wrong.append(FieldError(path="Content-Encoding", found=f'"{encoding[:100]}"', expected="gzip, or no encoding"))
    if wrong:
        raise ApiError(WRONG_MEDIA_TYPE, wrong)
    return media, await _received(request, limit, Plain(limit) if encoding == "identity" else Gzip(limit))


def media_type(request: Request, takes: str = JSON) -> tuple[str, list[FieldError]]:
    """What a body is declared as, `JSON` or `LINES`, and what is wrong with how it is declared."""
    declared = request.headers.get("content-type", "")
    media, _, parameters = declared.partition(";")
    media = media.strip().lower()
    if media in _LINES:
        media = LINES
    elif media == JSON or re.fullmatch(r"application/[\w.-]+\+json", media):
        media = JSON
    else:
        found = f'"{declared[:100]}"' if declared else "no such header"
        return "", [FieldError(path="Content-Type", found=found, expected=takes)]
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", parameters, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        found = f"charset {charset[1][:40]}"
        return media, [FieldError(path="Content-Type", found=found, expected="charset utf-8")]
    return media, []


class Unpacking(Protocol):
    """Takes the bytes of a body piece by piece."""

    size: int

    def feed(self, piece: bytes) -> None: ...

    def finish(self) -> bytes: ...


async def _received(request: Request, limit: int, unpacking: Unpacking) -> bytes:
    arrived = 0
    try:
        async for piece in request.stream():
            arrived += len(piece)
            if arrived <= limit and unpacking.size <= limit:
                unpacking.feed(piece)
            elif arrived > PATIENCE * limit:
                break
    except ClientDisconnect as error:  # nobody hears this, but the log and the figures should not blame the server
        raise ApiError(CUT_OFF, detail=f"The connection ended after {arrived} bytes.") from error
    if arrived > limit:
        _refuse_size(
            f"{arrived} bytes" if arrived <= PATIENCE * limit else f"more than {PATIENCE * limit} bytes", limit
        )
    if unpacking.size > limit:
        _refuse_size(f"more than {limit} bytes when unpacked", limit)
    return unpacking.finish()


def _refuse_size(found: str, limit: int) -> None:
    wrong = FieldError(path=ROOT, found=found, expected=f"at most {limit} bytes")
    raise ApiError(TOO_LARGE, [wrong], headers={"Connection": "close"})


class Plain:
    """Takes bytes as they are."""

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        self.size += len(piece)
        self._pieces.append(piece)

    def finish(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)


class Gzip:
    """Unpacks gzip as it comes, and stops one byte beyond a limit, however far it would still expand.

    Parameters
    ----------
    limit
        Most unpacked bytes. Once `size` is beyond it nothing more is unpacked.

    Examples
    --------
    >>> import gzip
    >>> bomb = Gzip(limit=1000)
    >>> bomb.feed(gzip.compress(bytes(50_000_000)))
    >>> bomb.size
    1001
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._pieces: list[bytes] = []
        self._member = zlib.decompressobj(wbits=31)

    def feed(self, piece: bytes) -> None:
        """Unpack the next piece."""
        while piece and self.size <= self._limit:
            if self._member.eof:  # gzip files may be put one behind the other
                self._member = zlib.decompressobj(wbits=31)
            try:
                unpacked = self._member.decompress(piece, self._limit + 1 - self.size)
            except zlib.error as error:
                raise _not_gzip(str(error).partition(": ")[2] or "damaged data") from error
            self.size += len(unpacked)
            self._pieces.append(unpacked)
            piece = self._member.unused_data or self._member.unconsumed_tail

    def finish(self) -> bytes:
        """All of it.

        Raises
        ------
        ApiError
            When the end is missing.
        """
        if not self._member.eof:
            raise _not_gzip("gzip that breaks off" if self._pieces else "an empty body")
        return b"".join(self._pieces)


def _not_gzip(found: str) -> ApiError:
    wrong = FieldError(path=ROOT, found=found, expected="gzip, as Content-Encoding says")
    return ApiError(NOT_GZIP, [wrong])
