"""What the two heads are trained on: clicks and conversions over all impressions, and two corrections for selection.

The conversion head answers for impressions that nobody clicked, yet conversions are only seen after clicks. Three ways:

* ``none`` is ESMM (Ma et al., "Entire Space Multi-Task Model", 2018, arXiv 1804.07931): the product of both chances is
  fitted to conversions over impressions. The conversion head has no loss of its own, so whatever the click head gets
  wrong, it makes up for: where clicks are predicted too low, it is too high, and that is where the clicks are. Hence it
  overestimates on clicked rows (Wang et al., "ESCM²: Entire Space Counterfactual Multi-Task Model", 2022, arXiv
  2204.05125, theorem 1).
* ``ipw`` adds the conversion loss of clicked rows, each weighted by one over its chance of a click: a clicked row then
  speaks for those like it that were not clicked.
* ``dr`` adds the doubly robust form: unclicked rows are taken to convert as an imputation says that is fitted to clicked
  rows alone, and weighted clicked rows correct it. Either the imputation or the chance of a click has to be right.

Changed from ESCM²: the weights are divided by their sum (Hájek) and not by the number of rows; no chance of a click
counts as less than a tenth of the average; the imputation is of the rate and not of the loss; the added loss is scaled by
the click rate, so that it is in nats per impression as the others are; and it takes counts, sampled rows and late
conversions. As there, no gradient flows into the click head through the weights.

Late conversions are *discounted trials*: c conversions of m clicks whose conversions have been reported with chance F
are c of m·F trials. At the true rate the gradient is 0 on average for every F, and no weight is large.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Counterfactual = Literal["none", "ipw", "dr"]

MARGIN = 1e-6
"""The chance of a click that converts counts as at most so much less than 1. Of late rows, more may have converted than there are
trials, and then there would be no least loss: a network that knows such a row by heart could go on for ever."""
FEWEST_CLICKS = 1e-6
"""Divides a batch without a click, in which the sum is 0 too; smaller, and its inverse weights would be infinite."""
SMALLEST_PROPENSITY = 0.1
"""Chances of a click count as at least this share of the average one: no row speaks for more than ten average ones."""


def entire_space_loss(
    log_odds: Tensor,
    clicked: Tensor,
    unclicked: Tensor,
    converted: Tensor,
    maturity: Tensor | None = None,
    *,
    counterfactual: Counterfactual = "none",
    weight: float = 1.0,
    shift: float = 0.0,
) -> Tensor:
    """Loss of clicks and of clicks that convert, both over impressions, in nats per impression.

    Parameters
    ----------
    log_odds
        Of a click, of a conversion given a click and, for ``dr``, of the imputed conversion, shape (n, 2) or (n, 3).
    clicked, unclicked, converted
        Weighted counts, shape (n,); `converted` is part of `clicked`.
    maturity
        Chance that a conversion to come has been reported by now, shape (n,), in (0, 1]; without it all have.
    counterfactual
        Correction of the conversion head for being seen after clicks only.
    weight
        Of the correction. At 1 it counts as much as the conversions' own loss over clicks, spread over impressions.
    shift
        What sampling added to the log odds of a click (`Response.shift`), for `counterfactual` alone: one unclicked row
        stands for ``exp(shift)`` impressions.

    Examples
    --------
    >>> even = torch.zeros(1, 2)  # a half, and a half of that
    >>> loss = entire_space_loss(even, torch.ones(1), torch.zeros(1), torch.zeros(1))
    >>> round(loss.item(), 4) == round(-math.log(0.5) - math.log(1 - 0.25), 4)
    True
    """
    total = clicked + unclicked
    trials = total if maturity is None else total * maturity
    click = clicked * functional.logsigmoid(log_odds[:, 0]) + unclicked * functional.logsigmoid(-log_odds[:, 0])
    both = functional.logsigmoid(log_odds[:, 0]) + functional.logsigmoid(log_odds[:, 1])
    neither = torch.log1p(-torch.exp(both).clamp(max=1 - MARGIN))
    convert = converted * both + (trials - converted) * neither
    loss = -(click + convert).sum() / total.sum()
    if counterfactual == "none":
        return loss
    shown = clicked + unclicked * math.exp(shift)
    mature = torch.ones_like(total) if maturity is None else maturity
    corrected = _conversion_loss(
        log_odds, log_odds[:, 0].detach() - shift, clicked, shown, converted, mature, counterfactual
    )
    return loss + weight * clicked.sum() / total.sum() * corrected


def _conversion_loss(
    log_odds: Tensor,
    click_log_odds: Tensor,
    clicked: Tensor,
    shown: Tensor,
    converted: Tensor,
    maturity: Tensor,
    counterfactual: Counterfactual,
) -> Tensor:
    """Estimate of the mean conversion loss if every impression had been clicked, in nats; and the imputation's own."""
    propensity = torch.sigmoid(click_log_odds)
    least = SMALLEST_PROPENSITY * (shown * propensity).sum() / shown.sum()
    inverse = 1 / torch.maximum(propensity, least)
    inverse = inverse / (inverse * clicked).sum().clamp(min=FEWEST_CLICKS)
    conversion, trials = log_odds[:, 1], clicked * maturity
    if counterfactual == "ipw":
        return (inverse * _binomial(conversion, converted, trials)).sum()
    imputed = torch.sigmoid(log_odds[:, 2]).detach()
    by_imputation = _binomial(conversion, imputed * shown * maturity, shown * maturity).sum() / shown.sum()
    correction = inverse * (imputed * trials - converted) * conversion
    imputation = _binomial(log_odds[:, 2], converted, trials).sum() / clicked.sum().clamp(min=FEWEST_CLICKS)
    return by_imputation + correction.sum() + imputation


def _binomial(log_odds: Tensor, positive: Tensor, trials: Tensor) -> Tensor:
    """Negative log likelihood of each row."""
    return trials * functional.softplus(log_odds) - positive * log_odds
