"""Behind the log: what every process that decides learns from it, once and in its order."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec

from bidloop.core.clock import Clock
from bidloop.core.event import Event
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.events.ports import EventLog
from bidloop.events.privacy import forgotten, person_of
from bidloop.features.health import FeatureHealth
from bidloop.features.ports import OnlineStore
from bidloop.outcomes.joining import Joiner

Page = list[tuple[int, Event]]

PAGE = 2_000
"""Events that are learned at once; a decision waits no longer than for one page."""
SKEW = timedelta(days=1)
"""How far the clock of who erases somebody may be behind."""


class Follower:
    """Reads the log behind a position, joins it, and has the store of features learn it.

    Parameters
    ----------
    log, joiner, features, health
        What is read, how it is put together, and who learns it.
    clock
        Tells since when somebody may have been erased.
    """

    def __init__(
        self, log: EventLog, joiner: Joiner, features: OnlineStore, health: FeatureHealth, clock: Clock
    ) -> None:
        self._log = log
        self._joiner = joiner
        self._features = features
        self._health = health
        self._clock = clock
        self._position = 0
        self._page: tuple[Observations, Page, int] | None = None  # joined, and up to where
        self._looked = clock.now()
        self._erased = set(log.erased(self._looked - SKEW))
        self._turn = threading.Lock()

    def start(self, position: int) -> None:
        """Go on from a position; joiner and store have learned all up to it."""
        self._position = position

    def follow(self, book: Callable[[Observations, Page], None]) -> int:
        """Learn what the log has gained; says how many events.

        Parameters
        ----------
        book
            Told what a page says of ads, and the page, once the store of features knows it.

        Raises
        ------
        Unavailable
            When the log or the store of features does not answer; the same again later goes on from here.
        """
        learned = 0
        with self._turn:
            self._forget_erased()
            while self._page or (page := self._log.read(self._position, PAGE)):
                if self._page is None:
                    known = self._joiner.join([event for _, event in page], [position for position, _ in page])
                    self._page = known, page, page[-1][0]
                # Joined once, a page waits here for as long as the store of features does not answer.
                known, page, last = self._page
                self._features.observe(known, page)
                self._page, self._position = None, last
                self._health.saw(event for _, event in page)
                book(known, page)
                learned += len(page)
        return learned

    def _forget_erased(self) -> None:
        """Who was erased from the log is forgotten here as well: by the joiner, in the page that waits, in the store."""
        now = self._clock.now()
        for erasure in self._log.erased(self._looked - SKEW):
            if erasure in self._erased:
                continue
            person, _ = erasure
            self._joiner.forget(person)
            if self._page is not None:
                known, page, last = self._page
                self._page = *_without(person, known, page), last
            self._features.forget(person)
            self._erased.add(erasure)
        self._looked = now


def _without(person: str, known: Observations, page: Page) -> tuple[Observations, Page]:
    """What a page tells, without a person."""
    about = [_nobody(one) if one.user_id == person else one for one in known.opportunities]
    rest: Page = []
    for position, event in page:
        bare = forgotten(event) if person_of(event) == person else event
        if bare is not None:
            rest.append((position, bare))
    return replace(known, opportunities=about), rest


def _nobody(opportunity: Opportunity) -> Opportunity:
    return msgspec.structs.replace(opportunity, user_id="")
