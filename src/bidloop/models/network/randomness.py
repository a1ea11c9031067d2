"""The dice of training: a function of the seed, the epoch and the step, and of nothing else.

Each step's numbers are drawn afresh for the whole batch. So a training that goes on after a kill throws what it would
have thrown, and processes that share a batch each take their part of the same throw.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_LEVELS = 1 << 8
"""Shares are kept to the nearest 256th, and something is always left."""


def order_of_rows(seed: int, epoch: int, rows: int) -> Tensor:
    """The order in which an epoch visits the rows, int64, shape (rows,)."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(_key(seed, epoch)))


class Dice:
    """What is hidden and switched off in one step.

    Parameters
    ----------
    seed, epoch, step
        Of the training, the pass and the batch within it.
    rows
        Rows of the whole batch.
    part
        Those that this process computes.
    dropout
        Share of the units that `drop` switches off.
    """

    def __init__(
        self, seed: int, epoch: int, step: int, rows: int, part: slice, dropout: float, device: torch.device
    ) -> None:
        self._generator = torch.Generator(device).manual_seed(_key(seed, epoch, step))
        self._rows, self._part = rows, part
        self._dropout = dropout

    def hidden(self, fields: int, share: float) -> Tensor:
        """Which category values are hidden, bool, shape (rows of the whole batch, fields)."""
        return ~self._kept(fields, share)

    def drop(self, wave: Tensor) -> Tensor:
        """Dropout: some units are 0, and the others larger, so that the mean stays."""
        if self._dropout == 0:
            return wave
        kept = self._kept(wave.shape[1], self._dropout)[self._part]
        return wave * kept.to(wave.dtype).mul_(_LEVELS / (_LEVELS - _of_levels(self._dropout)))

    def _kept(self, width: int, share: float) -> Tensor:
        # 8 random bits a piece, cut out of 64: several times faster than torch's own dropout on a CPU.
        bits = torch.empty((self._rows, -(-width // 8)), dtype=torch.int64, device=self._generator.device)
        bits.random_(-(1 << 63), None, generator=self._generator)
        return bits.view(torch.int8)[:, :width] >= _of_levels(share) - _LEVELS // 2


def _of_levels(share: float) -> int:
    return min(_LEVELS - 1, round(share * _LEVELS))


def _key(*of: int) -> int:
    return int(np.random.SeedSequence(of).generate_state(1)[0])
