"""The dice: a function of seed, epoch and step, fair, and the same for all who share a batch."""

from __future__ import annotations

import torch

from bidloop.models.network.randomness import Dice, order_of_rows

CPU = torch.device("cpu")


def make_dice(part: slice, step: int = 0, dropout: float = 0.2) -> Dice:
    return Dice(1, 2, step, 4000, part, dropout, CPU)


def test_a_part_of_the_batch_gets_its_part_of_the_throw() -> None:
    whole, part = make_dice(slice(0, 4000)), make_dice(slice(1000, 1700))
    assert torch.equal(whole.hidden(7, 0.35), part.hidden(7, 0.35))
    for width in (30, 5):
        assert torch.equal(whole.drop(torch.ones(4000, width))[1000:1700], part.drop(torch.ones(700, width)))


def test_shares_are_as_asked_and_the_mean_stays() -> None:
    dice = make_dice(slice(0, 4000))
    hidden = dice.hidden(50, 0.35).float().mean()
    assert abs(hidden - 0.35) < 4 * (0.35 * 0.65 / 200_000) ** 0.5
    dropped = dice.drop(torch.ones(4000, 50))
    assert abs((dropped == 0).float().mean() - 0.2) < 4 * (0.2 * 0.8 / 200_000) ** 0.5
    assert abs(dropped.mean() - 1) < 0.01
    assert dropped.unique().numel() == 2


def test_nothing_is_hidden_or_dropped_where_the_share_is_zero() -> None:
    dice = make_dice(slice(0, 4000), dropout=0.0)
    assert not dice.hidden(3, 0.0).any()
    wave = torch.randn(4000, 3)
    assert torch.equal(dice.drop(wave), wave)


def test_a_share_close_to_one_leaves_something() -> None:
    dice = make_dice(slice(0, 4000), dropout=0.999)
    dropped = dice.drop(torch.ones(4000, 50))
    assert torch.isfinite(dropped).all()
    assert abs(dropped.mean() - 1) < 4 * (255 / 200_000) ** 0.5
    assert not dice.hidden(50, 0.999).all()


def test_each_step_throws_anew() -> None:
    one, other = (make_dice(slice(0, 4000), step).hidden(8, 0.5) for step in (0, 1))
    assert 0.4 < (one == other).float().mean() < 0.6


def test_an_epoch_visits_each_row_once_in_an_order_of_its_own() -> None:
    first = order_of_rows(1, 1, 500)
    assert torch.equal(first.sort().values, torch.arange(500))
    assert torch.equal(first, order_of_rows(1, 1, 500))
    assert not torch.equal(first, order_of_rows(1, 2, 500))
    assert not torch.equal(first, order_of_rows(2, 1, 500))
