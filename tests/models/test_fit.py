"""Every kind of model is trained, learns what there is to learn, and comes out as a graph."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bidloop.core.errors import ConfigurationError, Diverged, InsufficientData
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.models.encoding import fit_encoding
from bidloop.models.ensemble import choose_members, fit_weights
from bidloop.models.fit import fit_trials, joined
from bidloop.models.ftrl import FtrlSettings
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.models.kinds import KINDS
from bidloop.models.logistic import fit_logistic
from bidloop.models.network import NetworkSettings, fit_network
from bidloop.models.rows import Response, Rows
from bidloop.models.trees import TreeSettings, fit_trees
from bidloop.prediction.scoring import Scorer

QUICK = Hyperparameters(
    network=NetworkSettings(most_epochs=1),
    dcn=NetworkSettings(tower="dcn", most_epochs=1),
    deepfm=NetworkSettings(tower="deepfm", most_epochs=1),
)


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


def test_all_kinds_come_out_in_order_with_progress_and_curves(split: tuple[Examples, Examples]) -> None:
    told: list[tuple[str, float]] = []
    trials = fit_trials(
        *split, seed=3, hyperparameters=QUICK, on_progress=lambda name, share: told.append((name, share))
    )
    assert tuple(trial.final.name for trial in trials) == KINDS
    assert list(dict.fromkeys(name for name, _ in told)) == [*KINDS, "done"]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1][1] == 1.0
    assert all(trial.seconds > 0 for trial in trials)
    curves = {trial.final.name: trial.curve for trial in trials}
    assert [kind for kind, curve in curves.items() if not curve] == ["constant", "smoothed", "logistic", "ensemble"]
    for kind in ("ftrl", "trees", "network", "dcn", "deepfm"):
        assert [step for step, _ in curves[kind]] == list(range(1, len(curves[kind]) + 1)), kind


def test_the_ensemble_averages_those_named_beside_it_or_all(split: tuple[Examples, Examples]) -> None:
    def members(*kinds: str) -> set[str]:
        trials = fit_trials(*split, seed=3, kinds=[*kinds, "ensemble"], hyperparameters=QUICK)
        assert [trial.final.name for trial in trials] == [*kinds, "ensemble"]
        weights = trials[-1].final.parameters
        assert round(sum(float(weight) for weight in weights.values()), 9) == 1
        return {name.removeprefix("weight_") for name in weights}

    assert members("trees") == {"trees"}
    assert members("logistic", "trees") <= {"logistic", "trees"}
    assert len(members() & {"network", "dcn", "deepfm"}) <= 1


def test_of_the_networks_the_best_takes_part_and_no_other() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(size=(2, 30_000))
    clicked = (rng.random(30_000) < 1 / (1 + np.exp(-truth))).astype(float)
    response = Response.of(clicked, np.ones(30_000), np.ones(30_000))
    log_odds = {"logistic": noise, "network": truth + noise, "dcn": truth + 3, "deepfm": truth + 0.3 * noise}
    assert choose_members(log_odds, response) == ["logistic", "dcn"], "a level that is off says nothing of ranking"
    weights = fit_weights([log_odds["logistic"], log_odds["dcn"]], response)
    assert weights.tolist() == [0.0, 1.0]


def test_hyperparameters_reach_every_kind(split: tuple[Examples, Examples]) -> None:
    hyperparameters = Hyperparameters(
        ftrl=FtrlSettings(l2=33.0),
        trees=TreeSettings(max_depth=2),
        network=NetworkSettings(dropout=0.11, most_epochs=1),
        dcn=NetworkSettings(tower="dcn", dropout=0.12, most_epochs=1),
        deepfm=NetworkSettings(tower="deepfm", dropout=0.13, most_epochs=1),
    )
    kinds = ("ftrl", "trees", "network", "dcn", "deepfm")
    for trial in fit_trials(*split, seed=3, kinds=kinds, hyperparameters=hyperparameters):
        for model in (trial.early, trial.final):
            found = {name: model.parameters.get(name) for name in ("l2", "max_depth", "dropout")}
            expected = {"ftrl": 33.0, "trees": 2, "network": 0.11, "dcn": 0.12, "deepfm": 0.13}[model.name]
            assert expected in found.values(), model.name


def test_what_is_known_of_late_conversions_is_joined(split: tuple[Examples, Examples]) -> None:
    train, validation = split
    assert joined(train, validation).maturity is None
    young = dataclasses.replace(validation, maturity=np.full(len(validation), 0.5))
    maturity = joined(train, young).maturity
    assert maturity is not None
    assert maturity.tolist() == [1.0] * len(train) + [0.5] * len(validation)


def test_the_same_seed_gives_the_same_bytes_with_checkpoints_and_without(
    split: tuple[Examples, Examples], tmp_path: Path
) -> None:
    kinds = ("logistic", "ftrl", "trees", "network")
    first, second = (
        fit_trials(*split, seed=3, kinds=kinds, hyperparameters=QUICK, checkpoints=folder)
        for folder in (None, tmp_path / "checkpoints")
    )
    assert [trial.final.onnx for trial in first] == [trial.final.onnx for trial in second]
    assert (tmp_path / "checkpoints").is_dir()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]  # nothing is left when training has ended


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


WILD = NetworkSettings(learning_rate=1e30, most_epochs=1)


def test_a_kind_that_fails_is_told_and_costs_the_others_nothing(
    split: tuple[Examples, Examples], caplog: pytest.LogCaptureFixture
) -> None:
    told: dict[str, str] = {}
    with caplog.at_level(logging.WARNING, logger="bidloop.models"):
        trials = fit_trials(
            *split,
            seed=3,
            kinds=["network", "logistic", "ensemble"],
            hyperparameters=Hyperparameters(network=WILD),
            on_failure=told.__setitem__,
        )
    assert [trial.final.name for trial in trials] == ["logistic", "ensemble"]
    assert list(trials[-1].final.parameters) == ["weight_logistic"]
    assert list(told) == ["network"]
    assert "log odds" in told["network"]
    assert "Training network failed" in caplog.text


def test_where_nothing_could_be_trained_the_reason_is_raised(split: tuple[Examples, Examples]) -> None:
    told: dict[str, str] = {}
    with pytest.raises(Diverged, match="log odds"):
        fit_trials(
            *split,
            seed=3,
            kinds=["network", "ensemble"],
            hyperparameters=Hyperparameters(network=WILD),
            on_failure=told.__setitem__,
        )
    assert list(told) == ["network", "ensemble"]


def test_without_a_feature_that_differs_the_average_rates_are_what_is_left(split: tuple[Examples, Examples]) -> None:
    def alike(rows: Examples) -> Examples:
        table = FeatureTable(
            rows.features.view, {"hour_sin": np.ones(len(rows))}, {"slot": np.full(len(rows), "one", dtype=object)}
        )
        return dataclasses.replace(rows, features=table)

    train, validation = (alike(rows) for rows in split)
    told: dict[str, str] = {}
    trials = fit_trials(train, validation, seed=3, on_failure=told.__setitem__)
    assert [trial.final.name for trial in trials] == ["constant", "smoothed"]
    for trial in trials:
        said = Scorer(trial.final.onnx, trial.final.encoding).logits(validation.features)
        assert said.shape == (len(validation), 2)
        assert np.ptp(said[:, 0]) == 0
    for kind in ("logistic", "ftrl", "trees", "network", "dcn", "deepfm"):
        assert told.pop(kind).startswith("no feature differs between rows"), kind
    assert list(told) == ["ensemble"]
    with pytest.raises(InsufficientData, match="no feature"):
        fit_trials(train, validation, seed=3, kinds=["trees"])


def test_an_unknown_kind_is_refused(split: tuple[Examples, Examples]) -> None:
    with pytest.raises(ConfigurationError, match="forest"):
        fit_trials(*split, seed=1, kinds=["forest"])


def test_an_empty_validation_is_refused(split: tuple[Examples, Examples]) -> None:
    with pytest.raises(InsufficientData):
        fit_trials(split[0], split[1].take(slice(0, 0)), seed=1)


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
