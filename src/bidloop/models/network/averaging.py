"""The running average of the weights, which is what predicts."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EARLY = 4
"""In a short training, the average reaches back over the last fifth of its steps."""


class Averaging:
    """How much of the average a step keeps.

    An exponential average with a decay of 0.99 reaches back over a hundred steps, and where a small training ends after
    two hundred it still holds much of the first weights. So step t keeps ``(t - 1) / (t + 4)``, and the average reaches
    back over a fifth of the steps so far, until that is more than the decay.

    Parameters
    ----------
    decay
        Share that a late step keeps, in [0, 1).

    Examples
    --------
    >>> averaging = Averaging(0.99)
    >>> averaging.kept(1), averaging.kept(6), averaging.kept(1000)
    (0.0, 0.5, 0.99)
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self._turn = max(1, math.floor((1 + EARLY * decay) / (1 - decay)))
        shares = [math.log(self.kept(step)) if self.kept(step) else 0.0 for step in range(1, self._turn + 1)]
        # Entry t: the logarithm of what steps 2 … t keep between them.
        self._logs = torch.tensor([0.0, *shares], dtype=torch.float64).cumsum(0)

    def kept(self, step: int) -> float:
        """Share of the average that this step keeps, the first being 1; the first keeps nothing."""
        return min(self.decay, (step - 1) / (step + EARLY))

    def kept_since(self, before: Tensor, step: int) -> Tensor:
        """Share that the steps after `before` keep between them, up to and with `step`, float32.

        Parameters
        ----------
        before
            Number of a step, at least 1, in a tensor of any shape.

        Examples
        --------
        >>> averaging = Averaging(0.3)
        >>> kept = averaging.kept_since(torch.tensor([4, 6]), 6)
        >>> [round(float(share), 6) for share in kept] == [round(averaging.kept(5) * averaging.kept(6), 6), 1.0]
        True
        """
        # With a decay of 0 nothing is ever kept.
        if self.decay == 0:
            return (before >= step).float()
        self._logs = self._logs.to(before.device)
        last = torch.tensor(step, device=before.device)
        return (self._until(last) - self._until(before.long())).exp().float()

    def _until(self, step: Tensor) -> Tensor:
        late = (step - self._turn).clamp(min=0)
        return self._logs[step.clamp(max=self._turn)] + late * math.log(self.decay)
