"""What is kept of one entity, as the bytes of one value in Redis.

All is little-endian and made of words of 8 bytes, so that many values side by side are read at once:

| words | what |
|---|---|
| 1 | `MARK`, that it is one of ours, and 4 bytes that tell what its columns hold |
| 1 | revision: random bytes that change with every write |
| 1 | position in the log, int64 |
| 1 | base, microseconds since 1970 UTC, int64 |
| width | the state at the base, float64 |
| 1 + u, any number of times | the tail: from when on a step of time counts, int64, and what was added in it, float64 |
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.redis.kept_states import KeptStates
from bidloop.core.errors import CorruptArtifact
from bidloop.features.plan import EntityPlan
from bidloop.features.state import NEVER

MARK = b"bdl2"
REVISION = slice(8, 16)
"""Where the revision stands: `learn_features.lua` looks there as well."""
_HEAD = 4
_NOBODY: NDArray[np.intp] = np.zeros(0, dtype=np.intp)


class FeatureBlob:
    """How what is kept of the entities of one kind is packed.

    Parameters
    ----------
    entity
        The kind.
    amounts
        Names of the amounts of the plan, which its inputs are of.

    Examples
    --------
    >>> from bidloop.features.planning import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> plan = plan_of(campaign_view())
    >>> blob = FeatureBlob(plan.entities[0], plan.amounts)
    >>> nothing = blob.unpacked([None, None])
    >>> [len(value) for value in blob.packed(nothing)]
    [56, 56]
    """

    def __init__(self, entity: EntityPlan, amounts: Sequence[str]) -> None:
        self._kind = entity.name
        self._words, self._step = _HEAD + entity.width, 1 + len(entity.inputs)
        mark = MARK + _layout(entity, amounts)
        self._mark = int.from_bytes(mark, "little", signed=True)
        head = mark + bytes(16) + NEVER.to_bytes(8, "little", signed=True)
        self._nothing = head + entity.empty.astype("<f8").tobytes()

    def unpacked(self, values: Sequence[bytes | None]) -> KeptStates:
        """What n values say; `None` is an entity of which nothing is kept.

        Raises
        ------
        CorruptArtifact
            When a value is none of ours, or was written by a release that kept other columns.
        """
        size = 8 * self._words
        blobs = [self._nothing if value is None else value for value in values]
        lengths = list(map(len, blobs))
        if min(lengths) == max(lengths) == size:  # nothing of late: the way of almost every read
            heads, tails, owner = b"".join(blobs), b"", _NOBODY
        else:
            self._check_lengths(lengths)
            heads = b"".join([blob[:size] for blob in blobs])
            tails = b"".join([blob[size:] for blob in blobs])
            steps = (np.array(lengths) - size) // (8 * self._step)
            owner = np.repeat(np.arange(len(blobs)), steps)
        whole = np.frombuffer(heads, "<i8").reshape(-1, self._words)
        if not (whole[:, 0] == self._mark).all():
            raise self._corrupt("what is no state of these features")
        return KeptStates(
            position=whole[:, 2],
            base=whole[:, 3],
            states=whole.view("<f8")[:, _HEAD:],
            owner=owner,
            due=np.frombuffer(tails, "<i8").reshape(-1, self._step)[:, 0],
            inputs=np.frombuffer(tails, "<f8").reshape(-1, self._step)[:, 1:],
        )

    def packed(self, kept: KeptStates) -> list[bytes]:
        """The values of n entities, each with a new revision."""
        n = len(kept.base)
        heads = np.empty((n, self._words), dtype="<i8")
        heads[:, 0] = self._mark
        # Random, not counted: a value that was deleted and made anew must not look like the one that somebody read before.
        heads[:, 1] = np.frombuffer(os.urandom(8 * n), "<i8")
        heads[:, 2], heads[:, 3] = kept.position, kept.base
        heads.view("<f8")[:, _HEAD:] = kept.states
        steps = np.empty((len(kept.due), self._step), dtype="<i8")
        steps[:, 0] = kept.due
        steps.view("<f8")[:, 1:] = kept.inputs
        head, tail = heads.tobytes(), steps.tobytes()
        ends = (8 * self._step * np.searchsorted(kept.owner, np.arange(n + 1))).tolist()
        size = 8 * self._words
        return [head[i * size : (i + 1) * size] + tail[ends[i] : ends[i + 1]] for i in range(n)]

    def _check_lengths(self, lengths: Sequence[int]) -> None:
        for length in lengths:
            if length < 8 * self._words or (length - 8 * self._words) % (8 * self._step):
                raise self._corrupt(f"{length} bytes")

    def _corrupt(self, found: str) -> CorruptArtifact:
        # Not under which key: it tells the account's name, and may tell a person.
        return CorruptArtifact(
            f"{found} in Redis where a {self._kind!r} is kept",
            expected="what a feature store of this view and release wrote there",
            remedy="Something else writes to these keys, another release did, or the value is damaged: clear the store and build "
            "it anew from the log.",
        )


def _layout(entity: EntityPlan, amounts: Sequence[str]) -> bytes:
    """Four bytes that are others where the same place in a value holds something else."""
    inputs = [(one.kind, amounts[one.amount], one.bin) for one in entity.inputs]
    return hashlib.blake2b(repr((entity.key, entity.columns(), inputs)).encode(), digest_size=4).digest()
