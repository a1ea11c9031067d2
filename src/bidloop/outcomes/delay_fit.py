"""Learns from the conversions that are known how late conversions are.

Three shapes, simple before free:

* **exponential**, as in Chapelle, "Modeling Delayed Feedback in Display Advertising" (2014), without the part about rates: delays
  alone, with their truncation, so that neither spoils the other;
* **Weibull**, which also has many early and many very late ones;
* **buckets**: the share of each bucket on its own, by the product-limit estimator in reversed time (`run_off`), with each
  hazard drawn towards the Weibull's. How strongly is not tuned, but is what makes the counts most likely (a beta prior on each
  hazard, its concentration by marginal likelihood). Ages that nothing is old enough for have the Weibull's tail.

The one is taken that says most of conversions it was not fitted to; a freer one only where it is clearly better. In each, the
delays of a campaign are those of the pool times a factor, drawn towards 1; with buckets its hazards deviate besides, drawn
towards those. The spread between campaigns is estimated (empirical Bayes), so that a campaign with ten conversions is
the pool, and one with ten thousand is itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, logsumexp, xlog1py, xlogy

from bidloop.core.outcome import ConversionDelays
from bidloop.outcomes.delay import DAY, DelayCurve, DelayModel, Kind
from bidloop.outcomes.run_off import Floats, RunOff, bucket_edges

Shares: TypeAlias = Callable[[Floats], Floats]
"""Up to a factor, the share reported by each age."""

FEWEST = 50
"""Fewer conversions than this cannot tell one shape from another."""
FOLDS = 5
PRIOR = np.array([3.0, 1.0])
"""Standard deviations, in logs, of the Weibull's scale and shape: they only matter for a handful of conversions."""
STRENGTHS = np.append(10.0 ** np.arange(0.0, 5.0, 0.5), np.inf)
SPREADS = np.array([0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
STRETCHES = np.linspace(-2.5, 2.5, 401)
"""Logs of the factors by which a campaign's delays may be longer than the pool's."""


def fit_delay_model(delays: ConversionDelays, *, window_days: float, kind: Kind | None = None) -> DelayModel | None:
    """How late conversions are, per campaign; `None` where no conversion tells of it, and all must count as they are.

    Parameters
    ----------
    delays
        What is known of conversions (`History.delays`).
    window_days
        The conversion window: what comes later does not count, so that by then all is reported.
    kind
        The shape; by default the one that predicts best.

    Examples
    --------
    Conversions take two days on average, and the clicks are between no and ten days old:

    >>> rng = np.random.default_rng(0)
    >>> delay, age = rng.exponential(2 * DAY, 4000), rng.uniform(0, 10 * DAY, 4000)
    >>> seen = delay <= age
    >>> delay, age = delay[seen], age[seen]
    >>> campaign, at = np.full(len(age), "spring", dtype=object), np.zeros(len(age), dtype="datetime64[us]")
    >>> model = fit_delay_model(ConversionDelays(campaign, at, delay, delay, age, np.ones(len(age))), window_days=30)
    >>> model.kind, round(model.mean_delay() / DAY, 1), round(float(delay.mean()) / DAY, 1)
    ('exponential', 2.0, 1.5)
    """
    edges = bucket_edges(delays, window_days * DAY)
    counted = _count(delays, edges)
    if counted.pooled.total == 0:
        return None
    chosen = kind or _best_kind(delays, edges)
    pooled, campaigns = _fit(chosen, counted, edges)
    return DelayModel(
        kind=chosen,
        ages=tuple(edges.tolist()),
        pooled=pooled.curve(),
        campaigns={name: estimate.curve() for name, estimate in campaigns.items()},
    )


class _Counted(NamedTuple):
    """The delays of all, and of each campaign."""

    pooled: RunOff
    campaigns: dict[str, RunOff]


def _count(delays: ConversionDelays, edges: Floats) -> _Counted:
    names, which = np.unique(delays.campaign.astype(np.str_), return_inverse=True)
    parts = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which, minlength=len(names)))[:-1])
    each = {name: RunOff.of(delays.take(rows), edges) for name, rows in zip(names.tolist(), parts, strict=False)}
    return _Counted(RunOff.of(delays, edges), each)


@dataclass(frozen=True)
class _Estimate:
    """Shares at the edges, shape (k,), and what independent standard normals add to their logs, shape (k, number of them)."""

    shares: Floats
    errors: Floats
    conversions: float

    def curve(self) -> DelayCurve:
        deviations = np.sqrt(np.sum(self.errors**2, axis=1))
        return DelayCurve(
            shares=tuple(self.shares.tolist()), deviations=tuple(deviations.tolist()), conversions=self.conversions
        )


def _best_kind(delays: ConversionDelays, edges: Floats) -> Kind:
    """The simplest kind that none of the others clearly beats on conversions that it was not fitted to."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    # A report row may tell of hundreds at once: there must be something left to fit when a fold is held out.
    if RunOff.of(delays, edges).total < FEWEST or len(delays) < FOLDS:
        return kinds[0]
    fold = np.random.default_rng(0).permutation(len(delays)) % FOLDS
    parts: dict[Kind, list[Floats]] = {kind: [] for kind in kinds}
    counts = []
    for number in range(FOLDS):
        known, held = (_count(delays.take(rows), edges) for rows in (fold != number, fold == number))
        counts += [run_off.count for run_off in held.campaigns.values()]
        for kind in kinds:
            pooled, campaigns = _fit(kind, known, edges)
            parts[kind] += [
                run_off.log_likelihoods(campaigns.get(name, pooled).shares) for name, run_off in held.campaigns.items()
            ]
    count = np.concatenate(counts)
    scores = {kind: np.concatenate(part) for kind, part in parts.items()}
    best = kinds[0]
    for kind in kinds[1:]:
        gain = scores[kind] - scores[best]
        mean = float(gain @ count / count.sum())
        if mean > np.sqrt((gain - mean) ** 2 @ count) / count.sum():
            best = kind
    return best


def _fit(kind: Kind, counted: _Counted, edges: Floats) -> tuple[_Estimate, dict[str, _Estimate]]:
    """The pool and every campaign."""
    pooled, shares = _weibull(counted.pooled, edges, free=kind != "exponential")
    if kind == "buckets":
        pooled = _bucketed([counted.pooled], [pooled])[0]
        known = pooled.shares

        def shares(ages: Floats) -> Floats:
            return np.asarray(np.interp(ages, np.append(0.0, edges), np.append(0.0, known)))

    runs = list(counted.campaigns.values())
    campaigns = _stretched(runs, shares, edges, pooled)
    if kind == "buckets":
        campaigns = _bucketed(runs, campaigns)
    return pooled, dict(zip(counted.campaigns, campaigns, strict=True))


def _weibull(run_off: RunOff, edges: Floats, *, free: bool) -> tuple[_Estimate, Shares]:
    """The most probable Weibull delays; an exponential where the shape is not free."""
    middle = np.array([np.log(edges[-1] / 4), 0.0])

    def shares(point: Floats, ages: Floats) -> Floats:
        return np.asarray(-np.expm1(-np.exp(np.exp(point[1]) * (np.log(np.maximum(ages, 1e-9)) - point[0]))))

    def at_edges(point: Floats) -> Floats:
        share = np.maximum(shares(point, edges), 1e-300)
        return np.asarray(share / share[-1])

    def loss(point: Floats) -> float:
        return float(0.5 * np.sum(((point - middle) / PRIOR) ** 2) - run_off.log_likelihood(at_edges(point)))

    bounds = [(0.0, middle[0] + 4.0), (-2.3, 2.3) if free else (0.0, 0.0)]
    point = np.asarray(minimize(loss, middle, method="L-BFGS-B", bounds=bounds).x)
    steps = 1e-3 * np.eye(2)[: 1 + free]
    curvature = np.array([[_second(loss, point, a, b) for a in steps] for b in steps]) / 1e-6
    slope = np.stack([(np.log(at_edges(point + a)) - np.log(at_edges(point - a))) / 2e-3 for a in steps], axis=1)
    # At a bound the loss may bend down; nothing is less sure than it was before any conversion.
    bends, directions = np.linalg.eigh(curvature)
    root = directions / np.sqrt(np.maximum(bends, PRIOR.max() ** -2.0))
    return _Estimate(at_edges(point), slope @ root, run_off.total), lambda ages: shares(point, ages)


def _second(loss: Callable[[Floats], float], point: Floats, a: Floats, b: Floats) -> float:
    """The second difference of a loss in two directions."""
    return (loss(point + a + b) - loss(point + a - b) - loss(point - a + b) + loss(point - a - b)) / 4


def _stretched(runs: list[RunOff], shares: Shares, edges: Floats, pooled: _Estimate) -> list[_Estimate]:
    """Each campaign's delays as those of the pool times a factor, which has a log-normal spread between campaigns."""
    curves = np.stack([shares(edges * np.exp(-stretch)) for stretch in STRETCHES])
    curves = np.maximum(curves / curves[:, -1:], 1e-12)
    likelihoods = np.stack([run.log_likelihood(curves) for run in runs])
    priors = -0.5 * (STRETCHES / np.maximum(SPREADS[:, None], 1e-9)) ** 2
    priors -= logsumexp(priors, axis=1, keepdims=True)
    posteriors = likelihoods[None] + priors[:, None]
    evidence = logsumexp(posteriors, axis=2, keepdims=True)
    # Not the most likely spread alone: where few campaigns tell of it, that would make too sure.
    spread = evidence.sum(axis=1, keepdims=True)
    weights = np.exp(posteriors - evidence + spread - logsumexp(spread)).sum(axis=0)
    logs, estimates = np.log(curves), []
    for run, weight in zip(runs, weights, strict=True):
        share = weight @ curves
        error = np.sqrt(np.maximum(weight @ logs**2 - (weight @ logs) ** 2, 0.0))
        estimates.append(_Estimate(share / share[-1], np.column_stack((pooled.errors, error)), run.total))
    return estimates


def _bucketed(runs: list[RunOff], priors: list[_Estimate]) -> list[_Estimate]:
    """Hazards of each bucket by count, drawn towards those of a prior; as strongly as makes the counts most likely."""
    counted = [(*run.hazards(prior.shares), _hazards(prior.shares)) for run, prior in zip(runs, priors, strict=True)]
    evidence = [sum(_evidence(*of, strength) for of in counted) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmax(evidence))]
    if not np.isfinite(strength):
        return priors
    estimates = []
    for (events, at_risk, expected), prior in zip(counted, priors, strict=True):
        size = at_risk + strength
        hazard = np.minimum((events + strength * expected) / size, 1 - 1e-9)
        kept = np.log1p(-hazard)
        noise = np.sqrt(_after(hazard / ((1 - hazard) * size)))
        passed = (strength / size)[1:, None] * -np.diff(prior.errors, axis=0)
        inherited = _after(np.vstack((np.zeros((1, passed.shape[1])), passed)))
        estimates.append(_Estimate(np.exp(_after(kept)), np.column_stack((inherited, noise)), prior.conversions))
    return estimates


def _hazards(shares: Floats) -> Floats:
    """Of what came by the end of each bucket, the share that came in it, shape (k,)."""
    return np.clip(np.diff(shares, prepend=0.0) / shares, 1e-9, 1.0 - 1e-9)


def _evidence(events: Floats, at_risk: Floats, expected: Floats, strength: float) -> float:
    """Log probability of the events when each hazard is a beta variable around what is expected; the first is always 1."""
    events, at_risk, expected = events[1:], at_risk[1:], expected[1:]
    if not np.isfinite(strength):
        return float(np.sum(xlogy(events, expected) + xlog1py(at_risk - events, -expected)))
    yes, no = strength * expected, strength * (1 - expected)
    return float(np.sum(betaln(events + yes, at_risk - events + no) - betaln(yes, no)))


def _after(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each bucket the sum over those after it."""
    return np.cumsum(column[::-1], axis=0)[::-1] - column
