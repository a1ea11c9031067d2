"""Every kind of model is trained, learns what there is to learn, and comes out as a graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bidloop.core.errors import ConfigurationError, InsufficientData
from bidloop.core.examples import Examples
from bidloop.models.encoding import fit_encoding
from bidloop.models.fit import KINDS, fit_candidates, fit_trials
from bidloop.models.logistic import fit_logistic
from bidloop.models.network import fit_network
from bidloop.models.rows import Rows
from bidloop.models.trees import fit_trees


def log_loss(log_odds: np.ndarray, rows: Examples) -> float:
    z = log_odds[:, 0]
    loss = rows.impressions * np.logaddexp(0, z) - rows.clicks * z
    return float(np.sum(rows.weight * loss) / np.sum(rows.weight * rows.impressions))


@pytest.mark.parametrize("counts", [False, True], ids=["single impressions", "counts"])
@pytest.mark.parametrize("kind", ["logistic", "trees", "network"])
def test_a_model_beats_the_constant_rate_on_new_rows(kind: str, counts: bool, log: Callable[..., Examples]) -> None:
    rows, new = log(6000, counts=counts), log(4000, seed=7, counts=counts)
    encoding = fit_encoding(rows)
    data, later = Rows.of(rows, encoding), Rows.of(new, encoding)
    fits = {
        "logistic": fit_logistic,
        "trees": lambda data: fit_trees(data, seed=1, rounds=(100, 40)),
        "network": lambda data: fit_network(data, seed=1, epochs=8),
    }
    log_odds = fits[kind](data).logits(later.numeric, later.categories)
    rate = new.clicks.sum() / new.impressions.sum()
    constant = np.full((len(new), 2), np.log(rate / (1 - rate)))
    assert log_loss(log_odds, new) < 0.97 * log_loss(constant, new)
    mobile = new.features.categorical["device"] == "mobile"
    assert log_odds[mobile, 1].mean() > log_odds[~mobile, 1].mean() + 0.5


def test_fields_that_tell_nothing_are_switched_off(log: Callable[..., Examples]) -> None:
    rows = log(6000)
    model = fit_logistic(Rows.of(rows, fit_encoding(rows)))
    deviations = model.heads[0].deviations
    assert deviations["slot"] > 0.6
    assert deviations["creative"] < 0.25


def test_all_kinds_come_out_in_order_with_progress(split: tuple[Examples, Examples]) -> None:
    told: list[tuple[str, float]] = []
    models = fit_candidates(*split, seed=3, on_progress=lambda name, share: told.append((name, share)))
    assert tuple(model.name for model in models) == KINDS
    assert [name for name, _ in told] == [*KINDS, "done"]
    assert told[-1][1] == 1.0


def test_the_same_seed_gives_the_same_bytes(split: tuple[Examples, Examples]) -> None:
    kinds = ("logistic", "trees", "network")
    first, second = (fit_candidates(*split, seed=3, kinds=kinds) for _ in range(2))
    assert [model.onnx for model in first] == [model.onnx for model in second]


def test_the_final_model_has_seen_the_validation_days_and_the_early_one_has_not(
    split: tuple[Examples, Examples],
) -> None:
    train, validation = split
    validation.features.categorical["slot"][:5] = "brand new"
    [trial] = fit_trials(train, validation, seed=1, kinds=["logistic"])
    early, final = (
        {field.name: field for field in model.encoding.categories}["slot"] for model in (trial.early, trial.final)
    )
    assert len(early.seen) < len(final.seen)


def test_an_unknown_kind_is_refused(split: tuple[Examples, Examples]) -> None:
    with pytest.raises(ConfigurationError, match="forest"):
        fit_candidates(*split, seed=1, kinds=["forest"])


def test_an_empty_validation_is_refused(split: tuple[Examples, Examples]) -> None:
    with pytest.raises(InsufficientData):
        fit_candidates(split[0], split[1].take(slice(0, 0)), seed=1)


def test_without_conversions_every_model_still_answers(split: tuple[Examples, Examples]) -> None:
    train, validation = (
        Examples(e.features, e.at, e.impressions, e.clicks, 0 * e.conversions, 0 * e.value, e.weight) for e in split
    )
    rows = Rows.of(train, fit_encoding(train))
    later = Rows.of(validation, rows.encoding)
    for model in (fit_logistic(rows), fit_trees(rows, later, seed=1), fit_network(rows, seed=1, epochs=1)):
        rate = 1 / (1 + np.exp(-model.logits(rows.numeric, rows.categories)[:, 1]))
        assert np.all(rate > 0)
        assert np.all(rate < 0.01)
