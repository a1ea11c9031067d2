"""The shape of the curves is the one that predicts held-out days best."""

from __future__ import annotations

import pytest

from bidloop.bidding.allocation.choice import learn_responses
from bidloop.bidding.allocation.settings import Family, ResponseSettings
from tests.bidding.allocation import markets


@pytest.mark.parametrize("family", [Family.POWER, Family.SATURATION])
def test_the_true_shape_is_believed_where_the_days_can_tell(family: Family) -> None:
    days = markets.days(dict.fromkeys("abcd", 0.5), family=family, per_day=3000.0, varies=0.8)
    learned = learn_responses(days, ResponseSettings(draws=50))
    assert learned.held_out[family] == min(learned.held_out.values())
    assert learned.weights[family] > 0.9


def test_where_they_cannot_tell_every_shape_has_a_part_in_the_draws() -> None:
    learned = learn_responses(markets.days(dict.fromkeys("abcd", 0.5), varies=0.15), ResponseSettings(draws=90))
    assert min(learned.weights.values()) > 0.15
    assert sum(learned.weights.values()) == pytest.approx(1.0)
    for curve in learned.curves:
        assert [family for family, _ in curve.shapes] == list(Family)
        assert sum(count for _, count in curve.shapes) == len(curve.outcome(50.0)) == len(curve.marginal(50.0)) == 90


def test_a_shape_that_is_asked_for_is_taken_and_a_short_history_believes_all_alike() -> None:
    days = markets.days({"a": 0.5}, n=20)
    asked = learn_responses(days, ResponseSettings(family=Family.SATURATION))
    assert (asked.weights, asked.held_out) == ({Family.SATURATION: 1.0}, {})
    short = learn_responses(days, ResponseSettings(draws=90))
    assert (set(short.weights.values()), short.held_out) == ({1 / 3}, {})
