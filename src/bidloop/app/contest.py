"""Policies that bid on the same auctions under the same budgets: what others would have earned beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from bidloop.bidding.policies.constant import Constant
from bidloop.bidding.policies.hindsight import PerfectForesight, PerfectPrices
from bidloop.bidding.policies.linear import Linear
from bidloop.bidding.policies.mcpc import MaxCostPerClick
from bidloop.core.opportunity import Charge
from bidloop.experiments.auctions import Auctions, Objective
from bidloop.experiments.periods import campaign_days
from bidloop.experiments.ports import Policy
from bidloop.experiments.replay import Purchases, purchases
from bidloop.experiments.tuning import best_setting

ALL_KNOWING = "all-knowing"
SETTINGS = 40
"""Bids that a tuned policy chooses from, spread evenly in logarithm over the prices seen."""


def contest(
    auctions: Auctions,
    rehearsal: Auctions,
    budgets: Mapping[str, float],
    goal: Objective,
    timezone: str,
    truth: Auctions | None = None,
) -> dict[str, Purchases]:
    """What a constant bid, the best linear bid, mcpc and two kinds of hindsight would have bought.

    The hindsight optimum knows every market price beforehand, and nobody's click: the best that the true rates allow where
    the market tells them (`truth`), else the best that these predictions allow. The all-knowing knows the clicks too;
    nothing that bids can come near it.

    Parameters
    ----------
    auctions
        The test auctions, with the predictions that ours had.
    rehearsal
        Earlier auctions, with predictions, on which constant and linear are tuned per campaign, and which tell mcpc what
        a click costs.
    budgets
        Daily budget by campaign, in account currency.
    truth
        The test auctions with the true rates in the place of predictions, where a simulated market knows them.
    """
    days = campaign_days(auctions, timezone)
    constant, linear, mcpc = dict[str, Policy](), dict[str, Policy](), dict[str, Policy]()
    for campaign in budgets:
        past = rehearsal.take(rehearsal.campaign == campaign)
        constant[campaign] = _tuned(Constant, past, budgets, goal, timezone)
        worth = past.worth(goal)
        average = float(np.average(worth, weights=past.weight)) or 1.0
        linear[campaign] = _tuned(partial(Linear, average_worth=average), past, budgets, goal, timezone)
        clicks = float(past.click @ past.weight)
        mcpc[campaign] = MaxCostPerClick(_per_unit(past) * float(past.cost.sum()) / max(clicks, 1.0))
    return {
        "constant bid": purchases(constant, auctions, budgets, days, objective=goal),
        "best linear bid": purchases(linear, auctions, budgets, days, objective=goal),
        "mcpc": purchases(mcpc, auctions, budgets, days, objective=Objective.CLICKS),
        "hindsight optimum": purchases(
            PerfectPrices(), auctions if truth is None else truth, budgets, days, objective=goal
        ),
        ALL_KNOWING: purchases(PerfectForesight(), auctions, budgets, days, objective=goal),
    }


def _tuned(
    make: Callable[[float], Policy], past: Auctions, budgets: Mapping[str, float], goal: Objective, timezone: str
) -> Policy:
    low, high = np.quantile(past.market_price, [0.001, 0.999])
    settings = np.geomspace(max(float(low), 1e-6) / 2, max(float(high), 1e-6) * 2, SETTINGS).tolist()
    best, _ = best_setting(make, settings, past, budgets, campaign_days(past, timezone), objective=goal)
    return make(best)


def _per_unit(auctions: Auctions) -> float:
    """A thousand where prices are per mille, so that a cost per click becomes a bid."""
    return 1000.0 if auctions.charge is Charge.PER_MILLE else 1.0
