"""What a prediction falls back on, and how finely a landscape is drawn."""

from __future__ import annotations

import msgspec

from bidloop.core.errors import ConfigurationError


class PredictionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Knobs of prediction.

    Parameters
    ----------
    prior_ctr, prior_conversion_rate
        Rates in (0, 1) that are answered where nothing at all is known; such an answer says ``no_history``.
    prior_clicks
        How many clicks (conversions, for the conversion rate) the rates above weigh when they are mixed with an
        opportunity's own stated history; positive.
    pooled_support
        Impressions that a pooled rate's interval counts at most: without a model nobody has measured how far rates
        stray.
    level
        Stated probability of an interval where the model brings none of its own, in (0, 1).
    landscape_points
        Bids of a landscape, at least 2; geometric, from a quarter of the lowest to twice the highest bid in training.

    Raises
    ------
    ConfigurationError
        When a number is out of its range.
    """

    prior_ctr: float = 0.01
    prior_conversion_rate: float = 0.02
    prior_clicks: float = 2.0
    pooled_support: float = 1000.0
    level: float = 0.95
    landscape_points: int = 48

    def __post_init__(self) -> None:
        for name in ("prior_ctr", "prior_conversion_rate", "level"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigurationError(f"{name} = {getattr(self, name)}", expected="a number between 0 and 1")
        for name in ("prior_clicks", "pooled_support"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{name} = {getattr(self, name)}", expected="a positive number")
        if self.landscape_points < 2:
            raise ConfigurationError(f"landscape_points = {self.landscape_points}", expected="at least 2")
