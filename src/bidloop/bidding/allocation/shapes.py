"""The shapes of a response curve, each told by one number: its elasticity at the usual spend.

==========  ====================================  ==================================================
power       (s / r)^e                             the elasticity is e everywhere
logarithm   log(1 + s/k) / log(1 + r/k)           falls slowly; Hanssens, Parsons and Schultz (2001)
saturation  s (r + k) / (r (s + k))               falls to a ceiling; Hill (1910) with exponent 1
==========  ====================================  ==================================================

r is the campaign's usual spend, where each curve is 1, and k follows from the elasticity at r. So a campaign with few days
may lean on the elasticity of the others, whatever the shape. The elasticity is in (0, 1): each curve is increasing and
concave, and 0 where nothing is spent.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bidloop.bidding.allocation.settings import Family

Floats = NDArray[np.float64]

_LOG_X = np.linspace(-12.0, 400.0, 20_000)
_LOG1P_X = np.logaddexp(0.0, _LOG_X)  # log(1 + x) without x
_ELASTICITY = np.exp(_LOG_X - _LOG1P_X) / _LOG1P_X
"""Elasticity of log(1 + x) at x, falling from 1 to 0."""


def log_shape(family: Family, elasticity: Floats, ratio: Floats) -> Floats:
    """Logarithm of the curve at a multiple of the usual spend.

    Parameters
    ----------
    elasticity
        At the usual spend, in (0, 1).
    ratio
        Spend over the usual spend, above 0; broadcast against `elasticity`.

    Examples
    --------
    >>> twice = [log_shape(f, np.array(0.5), np.array(2.0)) for f in Family]
    >>> np.exp(twice).round(3).tolist()
    [1.414, 1.368, 1.333]
    """
    log_ratio = np.log(ratio)
    if family is Family.POWER:
        return np.asarray(elasticity * log_ratio)
    if family is Family.LOGARITHM:
        log_x = _log_x(elasticity)
        return np.asarray(np.log(np.logaddexp(0.0, log_x + log_ratio)) - np.log(np.logaddexp(0.0, log_x)))
    k = elasticity / (1 - elasticity)
    return np.asarray(log_ratio + np.log1p(k) - np.log(ratio + k))


def local_elasticity(family: Family, elasticity: Floats, ratio: Floats) -> Floats:
    """Relative change of the outcome per relative change of the spend, at a multiple of the usual spend.

    >>> local_elasticity(Family.SATURATION, np.array(0.5), np.array([0.5, 1.0, 2.0])).round(3).tolist()
    [0.667, 0.5, 0.333]
    """
    if family is Family.POWER:
        return np.asarray(elasticity + 0 * ratio)
    if family is Family.LOGARITHM:
        log_y = _log_x(elasticity) + np.log(ratio)
        grown = np.logaddexp(0.0, log_y)
        return np.asarray(np.exp(log_y - grown) / grown)
    k = elasticity / (1 - elasticity)
    return np.asarray(k / (ratio + k))


def _log_x(elasticity: Floats) -> Floats:
    """Logarithm of r/k, at which log(1 + s/k) has this elasticity."""
    return np.asarray(np.interp(-elasticity, -_ELASTICITY, _LOG_X))
