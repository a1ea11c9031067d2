"""Says of every request who sends it, and whether they may."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from bidloop.app.http.client_address import Network, address_of
from bidloop.app.http.keyring import Keyring
from bidloop.app.http.problems import TOO_FAST, ApiError
from bidloop.app.http.rate_limit import RateLimit, sender_of
from bidloop.core.api_key import Scope

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class Doorkeeper:
    """Asks for keys, and counts requests.

    Parameters
    ----------
    keyring
        The keys.
    trusted
        Networks of proxies that are believed when they say for whom they ask.
    limit
        How many requests a sender may send.
    """

    def __init__(self, keyring: Keyring, trusted: Sequence[Network], limit: RateLimit) -> None:
        self._keyring = keyring
        self._trusted = trusted
        self._limit = limit

    def admit(self, request: Request, scope: Scope, token: str = "") -> str:
        """Who sends a request: a key's id or, where no keys are required, an address.

        Raises
        ------
        ApiError
            When a key is missing or is for something else, or the sender sends too many requests.
        """
        key = self._keyring.admit(request, scope, token)
        sender = key.key_id if key else sender_of(self.address(request))
        if seconds := self._limit.wait(sender, 1):
            raise ApiError(
                TOO_FAST,
                detail="This sender has sent as many requests as it may.",
                headers={"Retry-After": str(math.ceil(seconds))},
            )
        return sender

    def address(self, request: Request) -> str:
        """The address of who asks."""
        return address_of(request, self._trusted)

    def guarded(self, handler: Handler, scope: Scope) -> Handler:
        """The handler, for those who may."""

        async def guarded(request: Request) -> Response:
            self.admit(request, scope)
            return await handler(request)

        return guarded
