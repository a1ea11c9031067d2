"""What can go wrong at the API, as RFC 9457 problem documents.

Each kind of problem has a stable `type`, an anchor on the reference page (``/docs#wrong-fields``).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from starlette.responses import Response

from bidloop.app.http.schema import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
"""A body with more wrong fields than this gets the first ones and the count."""


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its anchor, its status, its title, and what to do about it."""

    anchor: str
    status: int
    title: str
    remedy: str


WRONG_FIELDS = Kind(
    "wrong-fields", 422, "The request has wrong fields", "Mend the fields named in `errors` and send again."
)
NOT_JSON = Kind("not-json", 422, "The body is not JSON", "Send JSON in UTF-8.")
NOT_GZIP = Kind("not-gzip", 422, "The body is not gzip", "Compress it anew, or send it as it is.")
WRONG_MEDIA_TYPE = Kind(
    "wrong-media-type",
    415,
    "The body is declared as something that is not taken here",
    "Send the headers that `errors` asks for.",
)
CUT_OFF = Kind("cut-off", 400, "The body was cut off", "Send it again, whole.")
TOO_LARGE = Kind("too-large", 413, "The body is too large", "Send it in several smaller parts.")
NO_KEY = Kind(
    "no-key",
    401,
    "The request needs an API key",
    "Send `Authorization: Bearer TOKEN`; `bidloop keys create NAME --scope SCOPE` makes one.",
)
WRONG_SCOPE = Kind(
    "wrong-scope",
    403,
    "The API key is for something else",
    "Use a key with the scope that `errors` asks for, or with `admin`.",
)
TOO_FAST = Kind("too-fast", 429, "Too much comes from this sender", "Send it again after the seconds of `Retry-After`.")
BEHIND = Kind(
    "behind",
    429,
    "Events come in faster than they are stored",
    "Nothing of the request was taken in; send it again after the seconds of `Retry-After`.",
)
UNKNOWN_ADDRESS = Kind("unknown-address", 404, "There is nothing at this address", "The addresses are listed at /docs.")
UNKNOWN_DECISION = Kind(
    "unknown-decision",
    404,
    "There is no such decision",
    "Use the `decisionId` of an answer that this home folder gave.",
)
WRONG_METHOD = Kind("wrong-method", 405, "The address does not take this method", "Use a method of the `Allow` header.")
KEYS_UNREAD = Kind(
    "keys-unread",
    503,
    "It cannot be told at the moment who may ask",
    "The keys have not been read since the server started; send again after the seconds of `Retry-After`.",
)
UNAVAILABLE = Kind(
    "unavailable",
    503,
    "No decision can be made at the moment",
    "Nothing was recorded; send again after the seconds of `Retry-After`. The server's log tells the cause.",
)
EVENTS_UNAVAILABLE = Kind(
    "events-unavailable",
    503,
    "No event can be taken in at the moment",
    "Send the same again after the seconds of `Retry-After`: what was taken in already is known again by its id. The server's "
    "log tells the cause.",
)
BROKEN = Kind("broken", 500, "The server failed", "This is a fault of the server, told in its log; please report it.")

KINDS = (
    WRONG_FIELDS,
    NOT_JSON,
    NOT_GZIP,
    WRONG_MEDIA_TYPE,
    CUT_OFF,
    TOO_LARGE,
    NO_KEY,
    KEYS_UNREAD,
    WRONG_SCOPE,
    TOO_FAST,
    BEHIND,
    UNKNOWN_ADDRESS,
    UNKNOWN_DECISION,
    WRONG_METHOD,
    UNAVAILABLE,
    EVENTS_UNAVAILABLE,
    BROKEN,
)


class ApiError(Exception):
    """A request that gets a problem document in place of an answer.

    Parameters
    ----------
    kind
        Which kind of problem.
    errors
        Everything that is wrong, each with path, found and expected.
    detail
        One sentence on what happened this time; made from the errors when empty.
    headers
        Further response headers.
    """

    def __init__(
        self,
        kind: Kind,
        errors: Sequence[FieldError] = (),
        *,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.errors = list(errors)
        self.detail = f"{detail or _detail(self.errors)} {kind.remedy}".strip()
        self.headers = dict(headers or {})
        super().__init__(f"{kind.title}. {self.detail}")

    def response(self, instance: str) -> Response:
        """The problem document for a request to the address `instance`."""
        problem = Problem(
            type=f"/docs#{self.kind.anchor}",
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            instance=instance,
            errors=self.errors[:MAX_ERRORS],
        )
        return Response(msgspec.json.encode(problem), self.kind.status, self.headers, MEDIA_TYPE)


def _detail(errors: Sequence[FieldError]) -> str:
    if not errors:
        return ""
    first = errors[0]
    sentence = f"{first.path}: found {first.found}, expected {first.expected}."
    if len(errors) == 1:
        return sentence
    listed = "" if len(errors) <= MAX_ERRORS else f", of which the first {MAX_ERRORS} are listed"
    return f"{len(errors)} things are wrong{listed}. The first: {sentence}"


def nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that a misspelt one most likely meant; `None` when none is near.

    >>> nearest("campaign_id", ["adGroupId", "campaignId"])
    'campaignId'
    >>> nearest("colour", ["device", "budget"]) is None
    True
    """
    plain = {other.replace("_", "").replace("-", "").lower(): other for other in known}
    close = difflib.get_close_matches(name[:100].replace("_", "").replace("-", "").lower(), plain, n=1)
    return plain[close[0]] if close else None
