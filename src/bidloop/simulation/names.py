"""What can be bid for, as names and as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.core.errors import NotFound
from bidloop.core.opportunity import Opportunity
from bidloop.simulation.settings import WorldSettings

MODIFIERS = (
    "buy", "cheap", "best", "compare", "discount", "online", "review", "sale", "premium", "used", "new", "local",
)  # fmt: skip
"""What people put before a product when they search for it."""


class Names:
    """The names of a world's campaigns, ad groups and keywords, and the way back from a name to its number.

    Examples
    --------
    >>> names = Names(WorldSettings(campaigns=("city-bikes",), keywords=2, ad_groups=2))
    >>> names.keywords[0], names.ad_groups[0]
    (['buy city bikes', 'cheap city bikes'], ['city-bikes-1', 'city-bikes-2'])
    """

    def __init__(self, settings: WorldSettings) -> None:
        self.campaigns = list(settings.campaigns)
        self.devices = list(settings.devices)
        self.locations = list(settings.locations)
        self.ad_groups = [[f"{name}-{g + 1}" for g in range(settings.ad_groups)] for name in self.campaigns]
        self.keywords = [[_keyword(name, k) for k in range(settings.keywords)] for name in self.campaigns]
        self.ad_group_of = np.arange(settings.keywords) * settings.ad_groups // settings.keywords
        self._number = {
            "campaign_id": _numbers(self.campaigns),
            "device": _numbers(self.devices),
            "location": _numbers(self.locations),
        }
        self._keyword = [_numbers(words) for words in self.keywords]

    def numbers(self, opportunities: Sequence[Opportunity]) -> dict[str, NDArray[np.intp]]:
        """Campaign, keyword, device and location of opportunities as numbers, each of shape (n,).

        Raises
        ------
        NotFound
            When an opportunity names something that this world does not have.
        """
        found: dict[str, NDArray[np.intp]] = {}
        for field, numbers in self._number.items():
            found[field] = np.array([_find(numbers, field, getattr(o, field)) for o in opportunities], dtype=np.intp)
        words = [
            _find(self._keyword[campaign], "keyword", o.keyword)
            for campaign, o in zip(found["campaign_id"].tolist(), opportunities, strict=True)
        ]
        return {**found, "keyword": np.array(words, dtype=np.intp)}


def user_name(number: int) -> str:
    """Pseudonym of a user.

    >>> user_name(7), user_number(user_name(7)), user_number("")
    ('user-000007', 7, -1)
    """
    return f"user-{number:06d}"


def user_number(name: str) -> int:
    """The number of a user, or -1 for someone whom this world does not know."""
    digits = name.removeprefix("user-")
    return int(digits) if digits != name and digits.isdecimal() else -1


def _keyword(campaign: str, rank: int) -> str:
    words = f"{MODIFIERS[rank % len(MODIFIERS)]} {campaign.replace('-', ' ')}"
    return words if rank < len(MODIFIERS) else f"{words} {rank // len(MODIFIERS) + 1}"


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _find(numbers: dict[str, int], field: str, name: str) -> int:
    number = numbers.get(name)
    if number is None:
        raise NotFound(f"{field} {name!r}", expected=f"one of {', '.join(sorted(numbers))}")
    return number
