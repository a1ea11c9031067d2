"""The API's keys as a running server knows them."""

from __future__ import annotations

from typing import Literal

from starlette.requests import Request

from bidloop.app.http.client_address import is_own
from bidloop.app.http.problems import KEYS_UNREAD, NO_KEY, WRONG_SCOPE, ApiError
from bidloop.app.http.schema import FieldError
from bidloop.core.api_key import ApiKey, ApiKeys, Scope, key_id_of


class Keyring:
    """Says who asks, and whether they may.

    Keys are looked up in memory, so that no request waits for the database, and none is refused because it is down. `look`
    brings them up to date.

    Parameters
    ----------
    keys
        Where the keys are kept.
    mode
        ``"required"``, ``"off"``, or ``"auto"``: as soon as a key was ever made, or the host is not the machine's own.
    host
        Where the server listens.
    """

    def __init__(self, keys: ApiKeys, mode: Literal["auto", "required", "off"], host: str) -> None:
        self._keys = keys
        self._mode = mode
        self._own = is_own(host)
        self._known: dict[str, ApiKey] | None = None

    def look(self) -> None:
        """Read the keys anew."""
        self._known = {key.key_id: key for key in self._keys.list()}

    @property
    def required(self) -> bool:
        """Whether callers need a key."""
        return self._mode == "required" or (self._mode == "auto" and (not self._own or bool(self._known)))

    def admit(self, request: Request, scope: Scope, token: str = "") -> ApiKey | None:
        """The key of a caller who may do what the scope says; `None` where no keys are required.

        Parameters
        ----------
        token
            The token, where it does not come in the header.

        Raises
        ------
        ApiError
            401 without a key that is known and in force, 403 with one for something else; 503 before the keys were ever read,
            since a sender gives up what it is told it may not send.
        """
        if self._known is None and self._mode != "off":
            raise ApiError(KEYS_UNREAD, headers={"Retry-After": "1"})
        if not self.required:
            return None
        scheme, _, told = request.headers.get("authorization", "").partition(" ")
        token = token or (told.strip() if scheme.lower() == "bearer" else "")
        expected = f"a token with the scope {scope}"
        if not token:
            wrong = FieldError(path="Authorization", found="no token", expected=f"Bearer, and {expected}")
            raise ApiError(NO_KEY, [wrong], headers={"WWW-Authenticate": 'Bearer realm="bidloop"'})
        key = (self._known or {}).get(key_id_of(token))
        if key is None or not key.opened_by(token) or key.revoked_at is not None:
            revoked = key is not None and key.opened_by(token)
            found = "the token of a key that was revoked" if revoked else "a token of no key"
            wrong = FieldError(path="Authorization", found=found, expected=expected)
            challenge = 'Bearer realm="bidloop", error="invalid_token"'
            raise ApiError(NO_KEY, [wrong], headers={"WWW-Authenticate": challenge})
        if not key.allows(scope):
            found = f"a key for {', '.join(key.scopes)}"
            wrong = FieldError(path="Authorization", found=found, expected=expected)
            challenge = f'Bearer realm="bidloop", error="insufficient_scope", scope="{scope}"'
            raise ApiError(WRONG_SCOPE, [wrong], headers={"WWW-Authenticate": challenge})
        return key
