"""The stage that decides the bid most, found by leaving each out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bidloop.bidding.reasons import amount
from bidloop.bidding.sentences import BINDING
from bidloop.bidding.stages import Walk
from bidloop.core.decision import BidStage


def binding(walk: Walk, stages: Sequence[BidStage], currency: str) -> tuple[str, str]:
    """The stage without which the bid would differ most, by ratio, and a sentence that says what would have been bid.

    Each stage that changed the bid is left out in turn and the rest of the way gone again. So a stage that lowers much but
    is overruled later is not blamed. Between a bid and none the difference is infinite; of stages that differ alike the latest is
    named.

    Returns
    -------
    tuple of the stage's name and the sentence
        Both empty where no single stage changes the bid: none did, or two limits demand the same.
    """
    sent = stages[-1].after
    most, found, instead = 0.0, None, 0
    for i, stage in enumerate(stages):
        if i == 0 or stage.after == stage.before:
            continue
        other = walk.without(i, stage.before)
        if other == sent:
            continue
        change = abs(math.log(other / sent)) if other > 0 and sent > 0 else math.inf
        if change >= most:
            most, found, instead = change, stage, other
    if found is None:
        return "", ""
    told = f"{amount(instead, currency)} would have been bid" if instead > 0 else "nothing would have been bid"
    return found.name, f"{BINDING[found.code]}; without it {told}."
