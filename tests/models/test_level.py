"""The constant that levels log odds is found, or it is said why not."""

from __future__ import annotations

import numpy as np
import pytest

from bidloop.core.errors import Diverged
from bidloop.models.level import level, levelled_loss
from bidloop.models.rows import Response

CLICKS = Response.of(np.array([1.0, 0.0, 1.0, 0.0]), np.ones(4), np.array([1.0, 20.0, 1.0, 20.0]))


def test_the_loss_at_the_rows_own_level_does_not_depend_on_the_level_that_was_predicted() -> None:
    log_odds = np.array([0.5, -0.2, 0.1, 0.0])
    assert levelled_loss(log_odds + 3, CLICKS) == pytest.approx(levelled_loss(log_odds, CLICKS))
    assert levelled_loss(log_odds, CLICKS) < CLICKS.loss(log_odds + 3 + CLICKS.shift)


@pytest.mark.parametrize("wrong", [[np.nan, 0, 0, 0], [np.inf, 0, 0, 0], [-1e11, -200.0, -1e11, -200.0]])
def test_log_odds_that_no_constant_levels_are_said_to_have_diverged(wrong: list[float]) -> None:
    with pytest.raises(Diverged, match="log odds from"):
        level(np.array(wrong), CLICKS, 0.0)
