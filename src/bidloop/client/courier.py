"""Carries one batch of events to the server, however often that has to be tried."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any

import httpx
import msgspec

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 30.0
LONGEST_ASKED_S = 300.0
"""Seconds that a server may ask for; Bidloop itself asks for up to 60 while its consumers are behind."""
# The server must answer, or have the batch again: what it has taken in already it knows.
_TIMEOUT = httpx.Timeout(15.0, connect=5.0)
_WORTH_GZIP = 1_000
_HOPELESS = frozenset({400, 413, 415, 422})
"""Refusals of what was sent. All others may pass: a key, an address or a proxy can be mended while the events wait."""
_TOO_MUCH = frozenset({413, 422})
"""Refusals of a batch that its halves need not meet: too many bytes, too many events."""


class _Rejection(msgspec.Struct):
    index: Annotated[int, msgspec.Meta(ge=0)]
    code: str
    reason: str


class _Answer(msgspec.Struct):
    accepted: int
    events: list[_Rejection]


@dataclass
class Delivery:
    """What became of a batch.

    Parameters
    ----------
    rejected
        The lines that the server rejected, each with its reason.
    undelivered
        The lines that did not get there.
    reason
        Why they did not.
    """

    rejected: list[tuple[bytes, str]] = field(default_factory=list)
    undelivered: list[bytes] = field(default_factory=list)
    reason: str = ""


class Courier:
    """Sends batches, and tries again for as long as that may help.

    Parameters
    ----------
    url, key
        Of the server; the token of a key for `ingest`.
    retries
        How often a batch is sent again.
    compress
        Whether to send gzip.
    wait
        Waits so many seconds; says whether it is worth going on.
    """

    def __init__(
        self, url: str, key: str | None, *, retries: int, compress: bool, wait: Callable[[float], bool]
    ) -> None:
        headers = {"Content-Type": "application/x-ndjson", "Prefer": "return=minimal"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        # A cookie that a proxy hands out and that cannot be sent back would stop every batch from then on.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, cookies=no_cookies)
        self._retries = retries
        self._compress = compress
        self._wait = wait

    def deliver(self, lines: Sequence[bytes]) -> Delivery:
        """Send events, each one line of JSON."""
        reason, backoff = "", FIRST_WAIT_S
        for attempt in range(self._retries + 1):
            asked = 0.0
            try:
                answer = self._post(lines)
                if answer.status_code == 200:
                    return Delivery(rejected=_rejected(lines, answer.content))
                reason, asked = f"{answer.status_code}: {_detail(answer)}", _retry_after(answer)
            except Exception as error:  # no answer, however strange, may end the thread that has the events
                reason = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code in _TOO_MUCH and len(lines) > 1:
                    return self._halves(lines)
                if answer.status_code in _HOPELESS:
                    return Delivery(rejected=[(line, reason) for line in lines])
            # Jitter, or all who were turned away at once would come back at once.
            if attempt == self._retries or not self._wait(max(asked, backoff * random.uniform(0.5, 1.0))):
                break
            backoff = min(2 * backoff, LONGEST_WAIT_S)
        return Delivery(undelivered=list(lines), reason=reason)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _post(self, lines: Sequence[bytes]) -> httpx.Response:
        body, headers = b"\n".join(lines), {}
        if self._compress and len(body) > _WORTH_GZIP:
            body, headers = gzip.compress(body, 5), {"Content-Encoding": "gzip"}
        return self._http.post("/v1/events", content=body, headers=headers)

    def _halves(self, lines: Sequence[bytes]) -> Delivery:
        """Two batches in place of one that the server found too large."""
        middle = len(lines) // 2
        first, second = self.deliver(lines[:middle]), self.deliver(lines[middle:])
        return Delivery(
            rejected=first.rejected + second.rejected,
            undelivered=first.undelivered + second.undelivered,
            reason=first.reason or second.reason,
        )


def _rejected(lines: Sequence[bytes], content: bytes) -> list[tuple[bytes, str]]:
    answer = msgspec.json.decode(content, type=_Answer)
    return [(lines[one.index], f"{one.code}: {one.reason}") for one in answer.events if one.index < len(lines)]


def _detail(answer: httpx.Response) -> str:
    """What the server says of a refusal; it names no values of an event."""
    try:
        told: Any = msgspec.json.decode(answer.content)
        return str(told["detail"])
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        return answer.reason_phrase


def _retry_after(answer: httpx.Response) -> float:
    told = answer.headers.get("retry-after", "")
    return min(float(told), LONGEST_ASKED_S) if told.isdecimal() else 0.0
