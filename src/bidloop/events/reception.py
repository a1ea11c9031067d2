"""From the bytes that a sender tells to an event that may enter."""

from __future__ import annotations

from datetime import datetime

import msgspec

from bidloop.core.clock import Clock
from bidloop.core.errors import RejectedRow
from bidloop.events.identity import in_utc
from bidloop.events.packing import Item
from bidloop.events.privacy import Privacy
from bidloop.events.rejected import Rejected
from bidloop.events.settings import EventSettings
from bidloop.events.teller import Teller
from bidloop.events.validation import check

_DEFAULT = EventSettings()


class Reception:
    """Reads, checks and takes the people out of events, one after another.

    Parameters
    ----------
    privacy
        Makes the pseudonyms.
    clock
        The present, that no event may be ahead of.
    settings
        What counts as sensible; its `currency` is the account's.

    Examples
    --------
    >>> from bidloop.core.clock import SystemClock
    >>> reception = Reception(Privacy(bytes(32)), SystemClock(), EventSettings(currency="EUR"))
    >>> click = b'{"type": "click_received", "eventId": "c1", "at": "2026-03-01T12:00:00Z", "impressionId": "i1"}'
    >>> reception.receive(click, source="api").event_id
    'c1'
    >>> reception.receive(click.replace(b"2026", b"1926"), source="api").code
    'unknown_date'
    """

    def __init__(self, privacy: Privacy, clock: Clock, settings: EventSettings = _DEFAULT) -> None:
        self._privacy = privacy
        self._clock = clock
        self._settings = settings
        self._teller = Teller(settings.currency)

    def receive(self, raw: bytes | msgspec.Raw, *, source: str, position: int = 0, now: datetime | None = None) -> Item:
        """The event that some bytes tell, or why it makes no sense, with the bytes themselves.

        Parameters
        ----------
        raw
            One JSON object.
        source, position
            Where it came from. An API has no position: the same bad event sent again is then the same one.
        now
            The present, where many are received at once.
        """
        now = now or self._clock.now()
        try:
            event = self._teller.event(raw)
            check(event, now, self._settings)
            return self._privacy.event(in_utc(event))
        except RejectedRow as error:
            kept = b"" if error.code == "no_consent" else bytes(raw)
            rejected = Rejected.of(error, source=source, position=position, raw=kept, form="told")
            return msgspec.structs.replace(rejected, at=now)
