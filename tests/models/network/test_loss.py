"""The loss over all impressions: its gradient, its minimum, and what the corrections for selection are worth."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bidloop.models.network.loss import MARGIN, entire_space_loss

KINDS = ("none", "ipw", "dr")
Correction = Literal["ipw", "dr"]


def batch(seed: int = 0, n: int = 6) -> tuple[Tensor, dict[str, Tensor]]:
    rng = np.random.default_rng(seed)
    clicked, maturity = rng.uniform(1, 4, n), rng.uniform(0.2, 1, n)
    counts = {
        "clicked": clicked,
        "unclicked": rng.uniform(1, 9, n),
        "converted": clicked * rng.uniform(0, 1, n),  # of late rows some have more than their trials
        "maturity": maturity,
    }
    return torch.tensor(rng.normal(size=(n, 3))), {name: torch.tensor(column) for name, column in counts.items()}


def test_the_gradient_is_that_of_finite_differences() -> None:
    log_odds, counts = batch()
    assert torch.autograd.gradcheck(lambda z: entire_space_loss(z, **counts), log_odds.requires_grad_())


@pytest.mark.parametrize("counterfactual", ["ipw", "dr"])
def test_the_conversion_heads_gradient_is_that_of_finite_differences(counterfactual: Correction) -> None:
    log_odds, counts = batch()
    click, imputed = log_odds[:, :1], log_odds[:, 2:]

    def of_conversion(column: Tensor) -> Tensor:
        whole = torch.cat((click, column, imputed), dim=1)
        return entire_space_loss(whole, **counts, counterfactual=counterfactual, weight=0.7, shift=0.5)

    assert torch.autograd.gradcheck(of_conversion, log_odds[:, 1:2].clone().requires_grad_())


@pytest.mark.parametrize("counterfactual", ["ipw", "dr"])
def test_no_correction_moves_the_click_head(counterfactual: Correction) -> None:
    log_odds, counts = batch()
    gradients = []
    for kind in ("none", counterfactual):
        point = log_odds.clone().requires_grad_()
        entire_space_loss(point, **counts, counterfactual=kind).backward()
        gradients.append(point.grad)
    assert torch.equal(gradients[0][:, 0], gradients[1][:, 0])
    assert not torch.allclose(gradients[0][:, 1], gradients[1][:, 1])


def test_the_loss_is_least_at_the_true_rates_when_half_of_the_conversions_are_still_to_come() -> None:
    counts = torch.tensor([20.0]), torch.tensor([80.0]), torch.tensor([2.5]), torch.tensor([0.5])
    best = entire_space_loss(torch.logit(torch.tensor([[0.2, 0.25]])), *counts)
    for p, q in ((0.25, 0.25), (0.15, 0.25), (0.2, 0.4), (0.2, 0.125)):
        assert entire_space_loss(torch.logit(torch.tensor([[p, q]])), *counts) > best


@pytest.mark.parametrize("counterfactual", KINDS)
def test_counts_weigh_as_much_as_their_single_impressions(counterfactual: Any) -> None:
    log_odds = torch.tensor([[-1.0, 0.3, 0.1], [0.5, -0.2, -0.4]])
    counts = torch.tensor([[2.0, 3.0, 1.0], [1.0, 1.0, 0.0]])  # clicked, unclicked, converted
    singles = [(0, 1, 0, 1), (0, 1, 0, 0), *[(0, 0, 1, 0)] * 3, (1, 1, 0, 0), (1, 0, 1, 0)]
    apart = torch.tensor(singles, dtype=torch.float32)
    of_counts = entire_space_loss(log_odds, *counts.T, counterfactual=counterfactual)
    of_singles = entire_space_loss(log_odds[apart[:, 0].long()], *apart[:, 1:].T, counterfactual=counterfactual)
    assert of_counts.item() == pytest.approx(of_singles.item(), rel=1e-6)


@pytest.mark.parametrize("chance", [0.5, 0.2, 1e-4])
@pytest.mark.parametrize("counterfactual", KINDS)
def test_a_batch_without_a_click_has_a_finite_loss_and_gradient(counterfactual: Any, chance: float) -> None:
    point = torch.zeros(4, 3)
    point[:, 0] = torch.logit(torch.tensor(chance))
    point.requires_grad_()
    none = torch.zeros(4)
    loss = entire_space_loss(point, none, torch.ones(4), none, counterfactual=counterfactual)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(point.grad).all()


def test_a_late_row_that_is_known_by_heart_has_a_floor() -> None:
    one, none, maturity = torch.ones(1), torch.zeros(1), torch.full((1,), 0.05)
    losses = []
    for log_odds in (6.0, 20.0, 200.0):
        point = torch.full((1, 2), log_odds, requires_grad=True)
        loss = entire_space_loss(point, one, none, one, maturity)
        loss.backward()
        assert torch.isfinite(point.grad).all()
        losses.append(loss.item())
    assert losses[0] > losses[1] == pytest.approx(losses[2])
    assert losses[1] == pytest.approx(0.95 * np.log(MARGIN), rel=0.01)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("counterfactual", ["ipw", "dr"])
def test_a_correction_asks_for_the_rate_of_all_impressions_of_a_thinned_log_too(
    counterfactual: Correction, late: bool
) -> None:
    rng = np.random.default_rng(0)
    n, thinning = 60_000, 10.0
    ease = rng.normal(size=n)
    p, q = 1 / (1 + np.exp(1.5 - ease)), 1 / (1 + np.exp(1 - ease))
    maturity = rng.uniform(0.3, 1, n) if late else np.ones(n)
    clicked = rng.random(n) < p
    converted = clicked & (rng.random(n) < q * maturity)
    kept = clicked | (rng.random(n) < 1 / thinning)
    click_log_odds = np.log(p / (1 - p)) + np.log(thinning)  # what a right click head says of the thinned log

    def added(rate: float) -> float:
        columns = click_log_odds, np.full(n, np.log(rate / (1 - rate))), ease - 0.5  # the imputation is wrong
        log_odds = torch.tensor(np.column_stack(columns)[kept])
        counts = [torch.tensor(column[kept].astype(float)) for column in (clicked, ~clicked, converted, maturity)]
        with_it = entire_space_loss(log_odds, *counts, counterfactual=counterfactual, shift=float(np.log(thinning)))
        return float(with_it - entire_space_loss(log_odds, *counts))

    rates = np.linspace(0.2, 0.5, 31)
    least = rates[np.argmin([added(rate) for rate in rates])]
    assert q.mean() == pytest.approx(0.303, abs=0.002)
    assert q[clicked].mean() > 0.4  # what a loss of clicked rows alone would ask for
    assert least == pytest.approx(q.mean(), abs=0.02)


def test_a_correction_more_than_halves_what_a_wrong_click_head_makes_of_conversions() -> None:
    """The click rate bends where the head is straight: ESMM's conversion head makes up for it, where the clicks are.

    Expected counts stand for rows, so that nothing is left to chance.
    """
    x = stats.norm.ppf((np.arange(500) + 0.5) / 500)
    p, q = 1 / (1 + np.exp(3.3 - x - 0.8 * x**2)), 1 / (1 + np.exp(1.5 - x))
    read = torch.tensor(np.column_stack((x, np.ones(len(x)))), dtype=torch.float32)
    counts = [torch.tensor(column.astype(np.float32)) for column in (p, 1 - p, p * q)]

    def overestimates(counterfactual: Any) -> tuple[float, float]:
        weights = torch.zeros(2, 3, requires_grad=True)
        optimiser = torch.optim.Adam([weights], lr=0.1)
        for _ in range(200):
            optimiser.zero_grad()
            entire_space_loss(read @ weights, *counts, counterfactual=counterfactual, weight=3.0).backward()
            optimiser.step()
        more = torch.sigmoid(read @ weights)[:, 1].detach().numpy() - q
        return float(np.average(more, weights=p)), float(more.mean())

    on_clicks, on_all = overestimates("none")
    assert on_clicks > 0.04  # of 0.42
    assert on_all < -0.05  # of 0.22
    for correction in ("ipw", "dr"):
        corrected_on_clicks, corrected_on_all = overestimates(correction)
        assert abs(corrected_on_clicks) < on_clicks / 2
        assert abs(corrected_on_all) < abs(on_all) / 10
