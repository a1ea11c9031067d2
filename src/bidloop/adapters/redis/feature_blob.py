"""What is kept of one entity, as the bytes of one value in Redis.

All is little-endian and made of words of 8 bytes, so that many values side by side are read at once:

| words | what |
|---|---|
| 1 | `MARK`: that it is one of ours, in this layout |
| 1 | revision: random bytes that change with every write |
| 1 | position in the log, int64 |
| 1 | base, microseconds since 1970 UTC, int64 |
| width | the state at the base, float64 |
| 1 + u, any number of times | the tail: from when on a step of time counts, int64, and what was added in it, float64 |
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.redis.kept_states import NEVER, KeptStates
from bidloop.core.errors import CorruptArtifact
from bidloop.features.plan import EntityPlan

MARK = b"bidloop1"
REVISION = slice(8, 16)
"""Where the revision stands: `learn_features.lua` looks there as well."""
_HEAD = 4
_MARK = int.from_bytes(MARK, "little")
_NOBODY: NDArray[np.intp] = np.zeros(0, dtype=np.intp)


class FeatureBlob:
    """How what is kept of the entities of one kind is packed.

    Parameters
    ----------
    entity
        The kind.

    Examples
    --------
    >>> from bidloop.features.plan import plan_of
    >>> from bidloop.features.views import campaign_view
    >>> blob = FeatureBlob(plan_of(campaign_view()).entities[0])
    >>> nothing = blob.unpacked(["a", "b"], [None, None])
    >>> [len(value) for value in blob.packed(nothing)]
    [56, 56]
    """

    def __init__(self, entity: EntityPlan) -> None:
        self._words, self._step = _HEAD + entity.width, 1 + len(entity.inputs)
        head = MARK + bytes(16) + NEVER.to_bytes(8, "little", signed=True)
        self._nothing = head + entity.empty.astype("<f8").tobytes()

    def unpacked(self, names: Sequence[str], values: Sequence[bytes | None]) -> KeptStates:
        """What n values say; `None` is an entity of which nothing is kept.

        Parameters
        ----------
        names
            The keys that the values are of, for messages.

        Raises
        ------
        CorruptArtifact
            When a value is none of ours.
        """
        size = 8 * self._words
        blobs = [self._nothing if value is None else value for value in values]
        lengths = list(map(len, blobs))
        if min(lengths) == max(lengths) == size:  # nothing of late: the way of almost every read
            heads, tails, owner = b"".join(blobs), b"", _NOBODY
        else:
            self._check_lengths(names, lengths)
            heads = b"".join([blob[:size] for blob in blobs])
            tails = b"".join([blob[size:] for blob in blobs])
            steps = (np.array(lengths) - size) // (8 * self._step)
            owner = np.repeat(np.arange(len(blobs)), steps)
        whole = np.frombuffer(heads, "<i8").reshape(-1, self._words)
        ours = whole[:, 0] == _MARK
        if not ours.all():
            raise _corrupt(names[int(np.argmin(ours))], "what is no state of features")
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
        heads[:, 0] = _MARK
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

    def _check_lengths(self, names: Sequence[str], lengths: Sequence[int]) -> None:
        for name, length in zip(names, lengths, strict=False):
            if length < 8 * self._words or (length - 8 * self._words) % (8 * self._step):
                raise _corrupt(name, f"{length} bytes")


def _corrupt(name: str, found: str) -> CorruptArtifact:
    return CorruptArtifact(
        f"{found} under the key {name!r}",
        expected="what a feature store of this view wrote there",
        remedy="Something else writes to these keys, or the value is damaged: clear the store and build it anew from the log.",
    )
