"""A report row that is told again: the same cell and period, pulled once more, with what the platform says by now.

Platforms restate what they reported, conversions above all, for up to 30 days. So a look-back window is pulled again and
again: most of its rows say what they said before, and some say something else. Every telling that says something new is an
event of its own, under the same `row_id`; the first one's id is the row's, the second one's ends on ``#1``, and so on. What
was told before stays in the log, and so it can still be seen what was known when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from bidloop.core.event import CampaignReported
from bidloop.events.identity import content, content_digest
from bidloop.events.packing import Item


class Restatement:
    """Gives each row of one report its place among what was told of the same row before.

    * A row that was never told gets the id of its first telling.
    * A row that says what was told last gets the id of that, and the log knows it for a duplicate. When it was pulled does
      not matter.
    * A row that says something else gets the next id, also where it goes back to what was told before that.
    * A row that is told a second time in the same report is no restatement, but a contradiction, if it says something else:
      it gets the id of the first, and the log says ``changed_event``.

    Two imports at once may see the same last telling and give different news the same id. The log takes one and says
    ``changed_event`` of the other; whoever pulls again then gets it right.

    Parameters
    ----------
    digests
        The content digests of those of some ids that were ever told, from `bidloop.events.ports.EventLog`.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> from bidloop.core.money import Money
    >>> from bidloop.core.opportunity import Opportunity
    >>> at = datetime(2026, 3, 1, tzinfo=UTC)
    >>> cell = Opportunity(opportunity_id="r", at=at, campaign_id="spring")
    >>> row = CampaignReported(event_id="r", row_id="r", at=at, opportunity=cell, impressions=100, clicks=9, conversions=1,
    ...                        spend=Money.of(3, "USD"))
    >>> told = {"r": content_digest(row, content(row))}
    >>> def digests(ids):
    ...     return {event_id: told[event_id] for event_id in ids if event_id in told}
    >>> more = msgspec.structs.replace(row, conversions=2)
    >>> [Restatement(digests).resolve([item])[0].event_id for item in (row, more)]
    ['r', 'r#1']
    """

    def __init__(self, digests: Callable[[Collection[str]], Mapping[str, int]]) -> None:
        self._digests = digests
        # Hashes, not the ids themselves: a report may have millions of rows.
        self._told: set[int] = set()

    def resolve(self, items: Sequence[Item]) -> list[Item]:
        """The next items of the report, each row under the id that it is to be told by; other items as they are."""
        last = self._last({item.row_id for item in items if isinstance(item, CampaignReported) and item.row_id})
        chosen: dict[str, int] = {}
        resolved: list[Item] = []
        for item in items:
            if isinstance(item, CampaignReported) and (row := item.row_id):
                if row not in chosen:
                    told = last.get(row)
                    chosen[row] = 0 if told is None else told[0] + (hash(row) not in self._told and _news(item, *told))
                resolved.append(_telling(item, chosen[row]))
            else:
                resolved.append(item)
        self.remember(items)
        return resolved

    def remember(self, items: Iterable[Item]) -> None:
        """Note that items of this report were taken in already."""
        self._told.update(hash(item.row_id) for item in items if isinstance(item, CampaignReported))

    def _last(self, rows: Collection[str]) -> dict[str, tuple[int, int]]:
        """Number and content digest of the last telling of each row that was ever told."""
        last: dict[str, tuple[int, int]] = {}
        number, asked = 0, {row: row for row in rows}
        while asked:
            told = self._digests(asked)
            last.update((asked[event_id], (number, digest)) for event_id, digest in told.items())
            number += 1
            asked = {_name(row, number): row for row in (asked[event_id] for event_id in told)}
        return last


def _name(row: str, number: int) -> str:
    return f"{row}#{number}" if number else row


def _telling(event: CampaignReported, number: int) -> CampaignReported:
    return msgspec.structs.replace(event, event_id=_name(event.row_id, number))


def _news(event: CampaignReported, number: int, digest: int) -> bool:
    """Whether an event says something else than the telling of this number."""
    # When it was pulled is no news; without it, the digest needs no second writing.
    told = msgspec.structs.replace(_telling(event, number), known_at=None)
    return content_digest(told, content(told)) != digest
