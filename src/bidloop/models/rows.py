"""What a model fits: encoded rows and, for each, how many of how many were clicked and converted.

Logs of ads are often sampled: every click is kept, and one impression in 290 without a click. Fitting with the
inverse sampling probabilities as weights is unbiased but noisy, because few rows carry nearly all the weight. In a
model of log odds, sampling by the label moves nothing but the intercept, and by a known amount. So the weights are
divided by their mean among clicks and among the others, and the log of the ratio of those means is taken off the
fitted log odds: exact undoing at a fraction of the variance (King and Zeng, "Logistic Regression in Rare Events
Data", 2001, section 4.1, with the weights' spread kept within each class). Where all weights are equal this is the
plain likelihood.

Conversions arrive late. Of m clicks so young that only the share F of their conversions is reported by now, the c that are
count as c yes of m F trials, not of m. With the true rate p and the true F, ``E[c - p m F] = 0`` in every row, so that what
solves ``Σ x (c - p m F) = 0``, as a logistic regression on these counts does, is right on average for small and large rates
alike. The loss is convex, with the Hessian ``Σ x x' m F p (1 - p)``, but unbounded below on rows that can be memorised: where
c exceeds m F in all rows that a weight reads, a larger weight is always better. Penalties hold the weights of the linear
models and the leaves of the trees; the clamp in `network/loss.py` is the networks' floor. To weigh each conversion by 1 / F
instead (Horvitz-Thompson) is right on average too, but those weights have no bound; and the likelihood of Chapelle
("Modeling Delayed Feedback in Display Advertising", 2014), which fits rate and delay together, is not convex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidloop.core.encoding import Encoding
from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """How often something happened in each row.

    Parameters
    ----------
    positive, negative
        Weighted counts of yes and no, each class scaled to a mean weight of 1, float64, shape (n,). Of young rows more may
        be yes than there are trials; then `negative` is below 0. Their sum never is.
    shift
        What sampling added to the log odds: ``log(mean weight of no / mean weight of yes)``. Take it off the log odds
        that are fitted to `positive` and `negative`.

    Examples
    --------
    One click of weight 1 beside two sampled impressions that stand for 200 each:

    >>> response = Response.of(np.array([1.0, 0, 0]), np.array([1.0, 1, 1]), np.array([1.0, 200, 200]))
    >>> response.negative.tolist(), round(float(np.exp(response.shift)))
    ([0.0, 1.0, 1.0], 200)
    >>> round(response.base, 3)  # of 1.5 to 2.5
    -0.511

    Ten clicks, of whose conversions a quarter is reported by now:

    >>> Response.of(np.array([1.0]), np.array([10.0]), np.ones(1), np.array([0.25])).total.tolist()
    [2.5]
    """

    positive: Floats
    negative: Floats
    shift: float

    @classmethod
    def of(cls, yes: Floats, total: Floats, weight: Floats, maturity: Floats | None = None) -> Response:
        """`yes` of `total` in each row; more yes than total counts as total (conversions without a click).

        Parameters
        ----------
        maturity
            The share of each row's yes that can be known by now, in (0, 1]: it counts for so many trials.
        """
        yes = np.minimum(yes, total)
        no = total - yes
        mean_yes = float(np.sum(yes * weight) / np.sum(yes)) if np.any(yes > 0) else 1.0
        mean_no = float(np.sum(no * weight) / np.sum(no)) if np.any(no > 0) else 1.0
        if maturity is not None:
            no = total * maturity - yes
            # Any two scales are undone exactly, but only with the smaller one for yes no row's total falls below 0.
            mean_yes = min(mean_yes, mean_no)
        return cls(yes * weight / mean_yes, no * weight / mean_no, float(np.log(mean_no / mean_yes)))

    @property
    def total(self) -> Floats:
        """`positive + negative`."""
        return self.positive + self.negative

    @property
    def base(self) -> float:
        """Log odds of the average rate, before the shift; half a yes and half a no are added, so that it is finite."""
        return float(np.log((self.positive.sum() + 0.5) / (max(self.negative.sum(), 0.0) + 0.5)))

    def enough(self, least: float) -> bool:
        """Whether both yes and no happened at least so often."""
        return bool(self.positive.sum() >= least and self.negative.sum() >= least)

    def loss(self, log_odds: Floats) -> float:
        """Mean negative log likelihood of log odds that carry the shift, in nats per (scaled) impression."""
        total = np.logaddexp(0.0, log_odds) * self.total - self.positive * log_odds
        return float(total.sum() / self.total.sum())


@dataclass(frozen=True)
class Rows:
    """Encoded rows with their responses.

    Parameters
    ----------
    encoding
        How `numeric` and `categories` came about.
    numeric
        float32, shape (n, d).
    categories
        int64 slots, shape (n, k).
    click
        Clicks of impressions.
    conversion
        Conversions of clicks, of so many trials as are mature by now.
    maturity
        P(a conversion of the row's clicks is reported by now | there will be one), in (0, 1], float64, shape (n,).
    """

    encoding: Encoding
    numeric: NDArray[np.float32]
    categories: NDArray[np.int64]
    click: Response
    conversion: Response
    maturity: Floats

    def __len__(self) -> int:
        return len(self.numeric)

    @classmethod
    def of(cls, examples: Examples, encoding: Encoding) -> Rows:
        """Encode labelled rows.

        Raises
        ------
        InsufficientData
            When there is no row, no click, or nothing but clicks.
        """
        usable = np.isfinite(examples.weight) & (examples.weight > 0) & (examples.impressions > 0)
        examples = examples.take(usable)
        clicks = float(np.minimum(examples.clicks, examples.impressions).sum())
        if not 0 < clicks < float(examples.impressions.sum()):
            raise InsufficientData(
                f"{clicks:g} clicks of {float(examples.impressions.sum()):g} impressions",
                expected="at least one click and one impression without a click",
                remedy="Train on a longer stretch of the log.",
            )
        numeric, categories = encoding.apply(examples.features)
        return cls(
            encoding,
            # A table without a column does not know how many rows it has.
            numeric.reshape(len(examples), len(encoding.numeric)),
            categories.reshape(len(examples), len(encoding.categories)),
            Response.of(examples.clicks, examples.impressions, examples.weight),
            Response.of(
                examples.conversions,
                np.minimum(examples.clicks, examples.impressions),
                examples.weight,
                examples.maturity,
            ),
            np.ones(len(examples)) if examples.maturity is None else examples.maturity,
        )
