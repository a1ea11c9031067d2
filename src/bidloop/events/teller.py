"""Reads events as they are told."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from bidloop.core.errors import InvalidInput, RejectedRow
from bidloop.core.event import Event
from bidloop.events.misreading import explained
from bidloop.events.told import TOLD_TYPES, event_of


class Teller:
    """Reads events as they are told.

    Parameters
    ----------
    currency
        The account's, for amounts that name none.

    Examples
    --------
    >>> Teller("EUR").event(
    ...     b'{"type": "conversion_reported", "eventId": "e1", "at": "2026-03-01T12:00:00Z",'
    ...     b' "impressionId": "i1", "orderId": "o1", "value": 49.9}'
    ... ).value
    Money(micros=49900000, currency='EUR')
    >>> Teller("EUR").event(b'{"type": "click_recieved"}')
    Traceback (most recent call last):
    bidloop.core.errors.RejectedRow: type 'click_recieved'; expected one of the event types. Did you mean 'click_received'?
    """

    def __init__(self, currency: str) -> None:
        self._currency = currency
        # Sixty-four bits of float hold 15 digits: an amount of up to 10⁹ is exact to the micro.
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[tuple(TOLD_TYPES.values())])  # noqa: UP007

    def event(self, raw: bytes | msgspec.Raw) -> Event:
        """The event that one JSON object tells.

        Raises
        ------
        RejectedRow
            With one of `CODES`, and the path of the field. The words never repeat a value that may name a person.
        """
        try:
            told = self._decoder.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise explained(error, bytes(raw)) from error
        try:
            return event_of(told, self._currency)
        except InvalidInput as error:
            raise RejectedRow("wrong_field", error.found, path=error.path, expected=error.expected) from error
