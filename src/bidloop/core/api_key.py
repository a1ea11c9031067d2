"""Who may use the API, and for what: a key, its scopes, and the little of it that is kept."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec

from bidloop.core.errors import InvalidInput

Scope: TypeAlias = Literal["ingest", "predict", "admin"]
"""``ingest`` tells events, ``predict`` asks for bids and reads decisions, ``admin`` may do all that any scope may."""

SCOPES: tuple[Scope, ...] = get_args(Scope)
MAX_NAME = 100
_PREFIX = "bl"


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key to the API. The token itself is shown once, when it is made, and kept nowhere.

    Parameters
    ----------
    key_id
        Names it, in its token too.
    name
        Whose it is, in words.
    scopes
        What it is for.
    digest
        SHA-256 of the token's secret, hexadecimal. The secret is 32 random bytes, so that no slow hash is needed.
    created_at, revoked_at
        When it was made, and since when it opens nothing any more; UTC.

    Examples
    --------
    >>> from datetime import UTC
    >>> key, token = new_key("shop", ["ingest"], datetime(2026, 1, 1, tzinfo=UTC))
    >>> key.opened_by(token), key.opened_by(token[:-1]), key.allows("predict")
    (True, False, False)
    """

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created_at: datetime
    revoked_at: datetime | None = None

    def opened_by(self, token: str) -> bool:
        """Whether this is the token that was given out with the key."""
        _, _, secret = token.removeprefix(f"{_PREFIX}_").partition("_")
        return key_id_of(token) == self.key_id and hmac.compare_digest(_digest(secret), self.digest)

    def allows(self, scope: Scope) -> bool:
        """Whether the key is for this."""
        return scope in self.scopes or "admin" in self.scopes


def new_key(name: str, scopes: Collection[str], now: datetime) -> tuple[ApiKey, str]:
    """A new key, and its token: ``bl_<id>_<secret>``.

    Raises
    ------
    InvalidInput
        For a name that is empty or too long, and for no scope or an unknown one.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise InvalidInput(
            f"scope {unknown[0]!r}" if unknown else "no scope", path="scopes", expected=f"some of {', '.join(SCOPES)}"
        )
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise InvalidInput(f"name {name[:40]!r}", path="name", expected=f"1 to {MAX_NAME} printable characters")
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    key = ApiKey(
        key_id=key_id,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        digest=_digest(secret),
        created_at=now,
    )
    return key, f"{_PREFIX}_{key_id}_{secret}"


def key_id_of(token: str) -> str:
    """The id of the key that a token claims to be of; empty where it is no token.

    >>> key_id_of("bl_0123456789ab_ffff"), key_id_of("password")
    ('0123456789ab', '')
    """
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    return key_id if prefix == _PREFIX and secret else ""


def _digest(secret: str) -> str:
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKeys(Protocol):
    """Where keys are kept."""

    def add(self, key: ApiKey) -> None:
        """Keep a new key."""
        ...

    def list(self) -> list[ApiKey]:
        """All keys that were ever made, revoked ones too, in the order of their making."""
        ...

    def revoke(self, key_id: str, at: datetime) -> ApiKey:
        """Have a key open nothing any more; one that was revoked before stays as it was.

        Raises
        ------
        NotFound
            When there is none of this id.
        """
        ...
