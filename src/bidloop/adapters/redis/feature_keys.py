"""Under which keys of Redis a store of features keeps what it knows.

| key | what |
|---|---|
| ``{prefix}:version:position`` | up to which position of the log everything is in |
| ``{prefix}:version:told`` | a digest of the event at that position |
| ``{prefix}:version:e:kind:key`` | an entity |
| ``{prefix}:version:p:person:kind:key`` | an entity that names a person; person and key are hashes |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import quote

from bidloop.features.plan import SEPARATOR, Plan
from bidloop.features.source import PERSON


class FeatureKeys:
    """The keys of one version of a view.

    Parameters
    ----------
    plan
        What is kept.
    prefix
        Beginning of all keys.

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> keys = FeatureKeys(plan_of(campaign_view()), "shop")
    >>> [key.replace(campaign_view().version, "…") for key in keys.of(1, ["shoes", "hats"])]
    ['{shop}:…:e:campaign:shoes', '{shop}:…:e:campaign:hats']
    """

    def __init__(self, plan: Plan, prefix: str) -> None:
        # The braces keep all keys on one node of a cluster.
        self._prefix = prefix if "{" in prefix else f"{{{prefix}}}"
        self._own = f"{self._prefix}:{plan.version}:"
        self._kinds = [quote(entity.name, safe="") for entity in plan.entities]
        self._person_at = [entity.key.index(PERSON) if entity.personal else None for entity in plan.entities]
        self.position, self.told = f"{self._own}position", f"{self._own}told"

    def of(self, kind: int, keys: Sequence[str]) -> list[str]:
        """Where some entities of one kind, an index in the plan, are kept."""
        place, own, name = self._person_at[kind], self._own, self._kinds[kind]
        if place is None:
            return [f"{own}e:{name}:{key}" for key in keys]
        return [f"{own}{_person(key.split(SEPARATOR)[place])}:{name}:{_hashed(key)}" for key in keys]

    def all(self) -> str:
        """A pattern of everything that is kept of this version."""
        return f"{_literally(self._own)}*"

    def of_person(self, user_id: str) -> str:
        """A pattern of all that is kept of a person, in every version."""
        return f"{_literally(self._prefix)}:{12 * '?'}:{_person(user_id)}:*"


def _person(user_id: str) -> str:
    """The part of a key that is the same for all that is kept of a person, in every version of a view."""
    return f"p:{_hashed(user_id)}"


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _literally(text: str) -> str:
    r"""A text as a pattern that matches it alone.

    >>> _literally("a*b")
    'a\\*b'
    """
    return re.sub(r"([*?\[\]\\^-])", r"\\\1", text)
