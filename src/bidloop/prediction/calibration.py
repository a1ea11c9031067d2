"""Probabilities that mean what they say: of the impressions given 2 %, two in a hundred are clicked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from bidloop.core.errors import InvalidInput

Floats: TypeAlias = NDArray[np.float64]
Kind: TypeAlias = Literal["none", "shift", "temperature", "platt", "beta", "isotonic"]

KINDS: tuple[Kind, ...] = ("none", "shift", "temperature", "platt", "beta", "isotonic")
"""From the simplest to the most flexible; a more flexible one has to earn its place."""

FEWEST_EVENTS = 20
"""With fewer clicks, or fewer impressions without a click, calibration is left alone."""
FOLDS = 5
FLATTEST, STEEPEST = 1e-3, 5.0
"""Slopes are held between these: ranking is kept, and no log odds beyond those seen are thrown far off."""
NEGLIGIBLE = 5e-4
"""A gain in log loss below this share of it does not justify a more flexible kind."""
NEWTON_STEPS = 50


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """A non-decreasing map from a model's log odds to honest ones.

    Parameters
    ----------
    kind
        ``none``; ``shift`` z + b; ``temperature`` a·z; ``platt`` a·z + b; ``beta`` a·log p - b·log(1 - p) + c;
        ``isotonic``, linear between knots and of slope 1 beyond them. z are log odds and p the probability.
    parameters
        a, b, c as above, as far as the kind has them.
    knots
        Pairs of log odds before and after, by rising log odds; isotonic only.
    log_loss
        Cross-validated log loss per impression of each kind that was tried, for the record.

    Examples
    --------
    >>> Calibration(kind="platt", parameters=(2.0, 0.5)).apply([0.0, 1.0])
    array([0.5, 2.5])
    """

    kind: Kind = "none"
    parameters: tuple[float, ...] = ()
    knots: tuple[tuple[float, float], ...] = ()
    log_loss: dict[str, float] = {}

    def apply(self, log_odds: ArrayLike) -> Floats:
        """Calibrated log odds, float64, of the same shape; NaN stays NaN."""
        z = np.asarray(log_odds, dtype=np.float64)
        if self.kind == "none":
            return z
        if self.kind == "isotonic":
            return _between_knots(z, np.array(self.knots, dtype=np.float64))
        return _linear(self.kind, z, self.parameters)


class Calibrations(msgspec.Struct, frozen=True, kw_only=True):
    """The calibrations of both heads: a click given an impression, and a conversion given a click."""

    click: Calibration = Calibration()
    conversion: Calibration = Calibration()


def fit_calibration(
    logit: ArrayLike,
    clicks: ArrayLike,
    impressions: ArrayLike,
    weight: ArrayLike,
    kinds: Sequence[Kind] = KINDS,
    *,
    late: bool = False,
) -> Calibration:
    """Choose and fit the calibration that promises the lowest log loss on rows that the model was not trained on.

    Kinds are compared by log loss over five blocks of consecutive rows. The simplest whose loss is within half a
    standard error of the best is taken, so that a handful of clicks does not bend the curve. For a conversion rate
    pass conversions as `clicks` and clicks as `impressions`.

    Parameters
    ----------
    logit
        Log odds of the model on later rows than it was trained on, in order of time, shape (n,).
    clicks, impressions
        Counts, shape (n,).
    weight
        How many such rows of the population one row stands for, shape (n,).
    kinds
        Which kinds may be chosen.
    late
        Whether what is counted may still arrive: then `impressions` are those that have had their time (clicks times the
        share of conversions reported by now), and a row may hold more clicks than such impressions.

    Returns
    -------
    Calibration
        Of kind ``none`` when there are fewer than 20 clicks or fewer than 20 impressions without one.

    Raises
    ------
    InvalidInput
        When shapes differ, log odds are not finite, or counts make no sense.

    Notes
    -----
    Platt (1999); Guo et al., arXiv 1706.04599 (temperature); Kull, Silva Filho and Flach, "Beta calibration" (AISTATS
    2017); Zadrozny and Elkan (2002) for isotonic, here with knots at the blocks' centres and each block drawn towards
    the average by one click, so that no rate becomes 0. Slopes are kept positive, so ranking never changes.

    Examples
    --------
    A model that promises twice the odds is set right:

    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(-3, 1, 5000)
    >>> clicks = rng.binomial(20, 1 / (1 + np.exp(-z)))
    >>> calibration = fit_calibration(z + np.log(2), clicks, np.full(5000, 20), np.ones(5000))
    >>> calibration.kind, round(calibration.parameters[0], 1)
    ('shift', -0.7)
    """
    z, c, m, w = _checked(logit, clicks, impressions, weight, late)
    if min(c.sum(), (m - c).sum()) < FEWEST_EVENTS:
        return Calibration()
    block = np.arange(len(z)) * FOLDS // len(z)
    losses = {}
    for kind in kinds:
        loss = np.empty(len(z))
        for fold in range(FOLDS):
            held, kept = block == fold, block != fold
            fitted = _fit(kind, z[kept], c[kept], m[kept], w[kept])
            loss[held] = _loss(fitted.apply(z[held]), c[held], m[held], w[held])
        losses[kind] = loss
    chosen = _simplest_good_one(losses)
    shown = float(np.sum(w * m))
    return msgspec.structs.replace(
        _fit(chosen, z, c, m, w), log_loss={kind: float(loss.sum()) / shown for kind, loss in losses.items()}
    )


def _simplest_good_one(losses: dict[Kind, Floats]) -> Kind:
    best = min(losses, key=lambda kind: float(losses[kind].sum()))
    for kind in (kind for kind in KINDS if kind in losses):
        gap = losses[kind] - losses[best]
        if gap.sum() <= max(0.5 * np.sqrt(len(gap)) * gap.std(), NEGLIGIBLE * losses[best].sum()):
            return kind
    return best


def _loss(z: Floats, c: Floats, m: Floats, w: Floats) -> Floats:
    return w * (c * np.logaddexp(0, -z) + (m - c) * np.logaddexp(0, z))


def _terms(kind: Kind, z: Floats) -> tuple[Floats, list[Floats]]:
    """What is added as it stands, and what the parameters of a kind are multiplied with, in their order."""
    zero, one = np.zeros_like(z), np.ones_like(z)
    if kind == "beta":
        return zero, [-np.logaddexp(0, -z), np.logaddexp(0, z), one]
    if kind == "shift":
        return z, [one]
    return zero, [z] if kind == "temperature" else [z, one]


def _linear(kind: Kind, z: Floats, parameters: Sequence[float]) -> Floats:
    # Term by term rather than by a matrix product, whose last bit may depend on the number of rows.
    total, terms = _terms(kind, z)
    for parameter, term in zip(parameters, terms, strict=True):
        total = total + parameter * term
    return total


def _fit(kind: Kind, z: Floats, c: Floats, m: Floats, w: Floats) -> Calibration:
    if kind == "none" or not 0 < np.sum(c) < np.sum(m):
        return Calibration()
    if kind == "isotonic":
        return Calibration(kind=kind, knots=_isotonic_knots(z, c, m, w))
    offset, terms = _terms(kind, z)
    slopes = _SLOPES[kind]
    limits = np.array([[FLATTEST, STEEPEST]] * slopes + [[-np.inf, np.inf]] * (len(terms) - slopes))
    start = np.array([1.0] * slopes + [0.0] * (len(terms) - slopes))
    parameters = _maximise_likelihood(offset, np.stack(terms, axis=1), c, m, w, start, limits)
    return Calibration(kind=kind, parameters=tuple(float(parameter) for parameter in parameters))


_SLOPES: dict[Kind, int] = {"shift": 0, "temperature": 1, "platt": 1, "beta": 2}


def _maximise_likelihood(
    offset: Floats, terms: Floats, c: Floats, m: Floats, w: Floats, start: Floats, limits: Floats
) -> Floats:
    """Weighted binomial regression by Newton's method; a slope that would leave its limits is held there."""

    def loss(parameters: Floats) -> float:
        return float(np.sum(_loss(offset + terms @ parameters, c, m, w)))

    parameters, now = start, loss(start)
    for _ in range(NEWTON_STEPS):
        rate = expit(offset + terms @ parameters)
        gradient = terms.T @ (w * (m * rate - c))
        hessian = (terms * (w * m * rate * (1 - rate))[:, None]).T @ terms
        free = np.where(gradient > 0, parameters > limits[:, 0], parameters < limits[:, 1])
        step = np.zeros_like(parameters)
        ridge = 1e-9 * np.trace(hessian) * np.eye(len(parameters))
        step[free] = np.linalg.solve((hessian + ridge)[np.ix_(free, free)], gradient[free])
        for halving in range(30):
            moved = np.clip(parameters - step * 0.5**halving, limits[:, 0], limits[:, 1])
            then = loss(moved)
            if then <= now:
                break
        else:
            break
        gained = now - then
        parameters, now = moved, then
        if gained <= 1e-12 * abs(now):
            break
    return parameters


def _isotonic_knots(z: Floats, c: Floats, m: Floats, w: Floats) -> tuple[tuple[float, float], ...]:
    # Imported here because a server that only predicts should not pay for it.
    from scipy.optimize import isotonic_regression

    values, where = np.unique(z, return_inverse=True)
    shown = np.asarray(np.bincount(where, w * m), dtype=np.float64)
    clicked = np.asarray(np.bincount(where, w * c), dtype=np.float64)
    values, shown, clicked = values[shown > 0], shown[shown > 0], clicked[shown > 0]
    blocks = isotonic_regression(clicked / shown, weights=shown).blocks[:-1]
    trials, events = np.add.reduceat(shown, blocks), np.add.reduceat(clicked, blocks)
    average = min(float(clicked.sum() / shown.sum()), 0.5)
    # Of what is late more may have come than there are trials; that makes nothing certain.
    rate = (events + 1) / (np.maximum(trials, events) + 1 / average)
    rate = np.clip(np.maximum.accumulate(rate), 1e-12, 1 - 1e-12)
    centre = np.add.reduceat(shown * values, blocks) / trials
    return tuple(zip(centre.tolist(), np.log(rate / (1 - rate)).tolist(), strict=True))


def _between_knots(z: Floats, knots: Floats) -> Floats:
    before, after = knots[:, 0], knots[:, 1]
    beyond = np.minimum(z - before[0], 0) + np.maximum(z - before[-1], 0)
    return np.asarray(np.interp(z, before, after) + beyond, dtype=np.float64)


def _checked(
    logit: ArrayLike, clicks: ArrayLike, impressions: ArrayLike, weight: ArrayLike, late: bool
) -> tuple[Floats, Floats, Floats, Floats]:
    z, c, m, w = (np.asarray(column, dtype=np.float64) for column in (logit, clicks, impressions, weight))
    if len({column.shape for column in (z, c, m, w)}) != 1 or z.ndim != 1:
        raise InvalidInput(f"columns of shapes {z.shape}, {c.shape}, {m.shape}, {w.shape}", expected="one shape (n,)")
    for name, fine, expected in (
        ("logit", np.isfinite(z), "finite log odds"),
        ("clicks", (c >= 0) & ((c <= m * (1 + 1e-9)) | (late & np.isfinite(c))), "counts of at most the impressions"),
        ("impressions", np.isfinite(m) & (m >= 0), "finite counts"),
        ("weight", np.isfinite(w) & (w >= 0), "finite weights of at least 0"),
    ):
        if not fine.all():
            raise InvalidInput(f"wrong value in row {int(np.argmin(fine))}", path=name, expected=expected)
    return z, c if late else np.minimum(c, m), m, w
