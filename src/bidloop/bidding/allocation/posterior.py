"""A normal approximation whose precision matrix is an arrow: blocks that only meet in a few shared parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Floats = NDArray[np.float64]


class Block(NamedTuple):
    """What one campaign adds: precision and gradient of its own p parameters, and of the q shared ones.

    `hessian` (p, p), `cross` (p, q), `gradient` (p,), `shared_hessian` (q, q), `shared_gradient` (q,).
    """

    hessian: Floats
    cross: Floats
    gradient: Floats
    shared_hessian: Floats
    shared_gradient: Floats


class Arrow:
    """Solves for all parameters block by block: the time grows with the number of campaigns, not with its cube.

    Parameters
    ----------
    blocks
        One per campaign.
    precision, gradient
        Of the prior of the shared parameters, shapes (q, q) and (q,).

    Examples
    --------
    >>> one = np.array([1.0])
    >>> block = Block(np.array([[2.0]]), np.array([[1.0]]), one, np.array([[1.0]]), 0 * one)
    >>> shared, own = Arrow([block], np.array([[1.0]]), 0 * one).step()
    >>> [round(float(x), 3) for x in (*shared, *own[0])]  # solves [[2, 1], [1, 2]] (own, shared) = (1, 0)
    [-0.333, 0.667]
    """

    def __init__(self, blocks: Sequence[Block], precision: Floats, gradient: Floats) -> None:
        self._blocks = blocks
        self._factors = [cho_factor(block.hessian, lower=True) for block in blocks]
        self._leans = [-cho_solve(f, block.cross) for f, block in zip(self._factors, blocks, strict=True)]
        whole, pull = precision.copy(), gradient.copy()
        for block, lean in zip(blocks, self._leans, strict=True):
            whole += block.shared_hessian + block.cross.T @ lean
            pull += block.shared_gradient + lean.T @ block.gradient
        self._whole, self._pull = cho_factor(whole, lower=True), pull

    def step(self) -> tuple[Floats, list[Floats]]:
        """The Newton step: of the shared parameters, and of each block's own."""
        shared = cho_solve(self._whole, self._pull)
        own = [
            cho_solve(f, block.gradient) + lean @ shared
            for f, block, lean in zip(self._factors, self._blocks, self._leans, strict=True)
        ]
        return shared, own

    def covariances(self) -> list[tuple[Floats, float]]:
        """Of each block: the covariance of its own parameters, and the variance of its last minus the last shared one."""
        common = cho_solve(self._whole, np.eye(len(self._pull)))
        found = []
        for factor, lean in zip(self._factors, self._leans, strict=True):
            own = cho_solve(factor, np.eye(len(lean))) + lean @ common @ lean.T
            together = lean[-1] @ common[:, -1]
            found.append((own, float(own[-1, -1] + common[-1, -1] - 2 * together)))
        return found

    def variances(self, own: Sequence[Floats], shared: Sequence[Floats]) -> list[Floats]:
        """Of each block: the variance of n sums of parameters, `own` (n, p) and `shared` (n, q) their weights in each."""
        common = cho_solve(self._whole, np.eye(len(self._pull)))
        found = []
        for factor, lean, a, b in zip(self._factors, self._leans, own, shared, strict=True):
            whole = b + a @ lean
            found.append(np.sum(a * cho_solve(factor, a.T).T, axis=1) + np.sum((whole @ common) * whole, axis=1))
        return found

    def draws(self, count: int, random: np.random.Generator) -> tuple[Floats, list[Floats]]:
        """Deviations from the centre: of the shared parameters (count, q), and of each block's own (count, p)."""
        shared = _normal(self._whole[0], count, random)
        own = [
            _normal(factor[0], count, random) + shared @ lean.T
            for factor, lean in zip(self._factors, self._leans, strict=True)
        ]
        return shared, own


def _normal(lower: Floats, count: int, random: np.random.Generator) -> Floats:
    """Draws with the inverse of L Lᵀ as covariance."""
    return np.asarray(solve_triangular(lower, random.normal(size=(len(lower), count)), trans="T", lower=True).T)
