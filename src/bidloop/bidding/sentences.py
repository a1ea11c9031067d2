"""What each stage says about what it did: one sentence for each code."""

from __future__ import annotations

SENTENCES: dict[str, dict[str, str]] = {
    "shading": {
        "no_bid": "No bid to shade.",
        "held": "A bid that is kept is not shaded.",
        "second_price": "Under second price the value itself is the best bid.",
        "off": "Shading is switched off.",
        "no_landscape": "Not shaded: no bid landscape is known.",
        "shaded": "Under first price {bid} makes most of value and chance of winning.",
    },
    "pacing": {
        "no_bid": "No bid to pace.",
        "invalid_multiplier": "No bid: of the multipliers {budget:g} and {target:g} one is not a finite number above zero.",
        "held": "A bid that is kept is not paced.",
        "unpaced": "Neither the budget nor a target changes the bid.",
        "paced": "×{scale:.3g} of the value makes the budget last.",
        "raised": "×{scale:.3g} of the value keeps the target on average: cheaper wins have saved it.",
        "at_most": "×{scale:.3g} would keep the target on average, but the objective lets no win be worth more than {bid}.",
    },
    "exploration": {
        "no_bid": "No bid to try another one for.",
        "held": "Instead of a bid that is kept none is tried.",
        "off": "Nothing is tried out here.",
        "plain": "The nearest bid of the grid, as in {probability:.3g} of all cases.",
        "explored": "Another bid of the grid is tried, as in {probability:.3g} of all cases.",
    },
    "step_limit": {
        "no_bid": "No bid.",
        "within": "Within the limits.",
        "rise_limited": "The step limit lets the last bid rise to {bid} at most.",
        "fall_limited": "The step limit lets the last bid fall to {bid} at most.",
    },
    "cap_and_floor": {
        "no_bid": "No bid.",
        "within": "Within the limits.",
        "capped": "Lowered to the cap {bid}.",
        "cpc_capped": "Lowered to {bid}, where a click costs no more than the CPC cap.",
        "cpc_below_floor": "No bid: one that keeps the CPC cap would be below the least bid or the auction's floor.",
        "raised_to_minimum": "Raised to the least bid {bid}.",
        "below_floor": "No bid: it would be below the auction's floor {floor}.",
    },
    "control": {
        "no_bid": "No bid.",
        "applied": "Nobody holds the bid back.",
        "stopped": "No bid: {stopped}.",
        "pinned": "A person has fixed the bid at {bid}.",
        "off": "Bidding is off: {standing}.",
        "preview": "Only a preview: {standing}; {would} would have been bid.",
        "awaiting_approval": "{would} waits for a person: {change}. Until then {standing}.",
        "approved": "A person has approved {approved}.",
    },
    "ledger": {
        "no_bid": "No bid.",
        "no_budget": "No budget is set.",
        "affordable": "The rest of the budget pays for a win.",
        "budget_spent": "No bid: the budget is spent.",
        "budget_below_floor": "No bid: what is left of the budget does not reach the floor.",
        "lowered_to_budget": "Lowered to {bid}, which the rest of the budget still pays for.",
    },
}
"""By stage and code. What stands in braces is told by `stages.Walk.facts`."""

BINDING = {
    "shaded": "Shading decides",
    "paced": "The budget's pace binds",
    "raised": "The target's average decides",
    "at_most": "The objective's value binds",
    "plain": "The grid decides",
    "explored": "Exploration decides",
    "rise_limited": "The step limit binds",
    "fall_limited": "The step limit binds",
    "capped": "The cap binds",
    "cpc_capped": "The CPC cap binds",
    "cpc_below_floor": "The CPC cap binds",
    "raised_to_minimum": "The least bid binds",
    "below_floor": "The auction's floor binds",
    "invalid_multiplier": "The multiplier that is none binds",
    "stopped": "The stop binds",
    "pinned": "The person's bid decides",
    "off": "The mode binds",
    "preview": "The mode binds",
    "awaiting_approval": "The missing approval binds",
    "approved": "The approval binds",
    "budget_spent": "The budget binds",
    "budget_below_floor": "The budget binds",
    "lowered_to_budget": "The budget binds",
}
"""Who is named where a stage with this code changes the bid most."""
