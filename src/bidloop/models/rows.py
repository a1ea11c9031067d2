"""What a model fits: encoded rows and, for each, how many of how many were clicked and converted.

Logs of ads are often sampled: every click is kept, and one impression in 290 without a click. Fitting with the
inverse sampling probabilities as weights is unbiased but noisy, because few rows carry nearly all the weight. In a
model of log odds, sampling by the label moves nothing but the intercept, and by a known amount. So the weights are
divided by their mean among clicks and among the others, and the log of the ratio of those means is taken off the
fitted log odds: exact undoing at a fraction of the variance (King and Zeng, "Logistic Regression in Rare Events
Data", 2001, section 4.1, with the weights' spread kept within each class). Where all weights are equal this is the
plain likelihood.
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
        Weighted counts of yes and no, each class scaled to a mean weight of 1, float64, shape (n,).
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
    """

    positive: Floats
    negative: Floats
    shift: float

    @classmethod
    def of(cls, yes: Floats, total: Floats, weight: Floats) -> Response:
        """`yes` of `total` in each row; more yes than total counts as total (conversions without a click)."""
        yes = np.minimum(yes, total)
        no = total - yes
        mean_yes = float(np.sum(yes * weight) / np.sum(yes)) if np.any(yes > 0) else 1.0
        mean_no = float(np.sum(no * weight) / np.sum(no)) if np.any(no > 0) else 1.0
        return cls(yes * weight / mean_yes, no * weight / mean_no, float(np.log(mean_no / mean_yes)))

    @property
    def total(self) -> Floats:
        """`positive + negative`."""
        return self.positive + self.negative

    @property
    def base(self) -> float:
        """Log odds of the average rate, before the shift; half a yes and half a no are added, so that it is finite."""
        return float(np.log((self.positive.sum() + 0.5) / (self.negative.sum() + 0.5)))

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
        Conversions of clicks.
    """

    encoding: Encoding
    numeric: NDArray[np.float32]
    categories: NDArray[np.int64]
    click: Response
    conversion: Response

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
            numeric,
            categories,
            Response.of(examples.clicks, examples.impressions, examples.weight),
            Response.of(examples.conversions, np.minimum(examples.clicks, examples.impressions), examples.weight),
        )
