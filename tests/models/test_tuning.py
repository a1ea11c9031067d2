"""Tuning tries the default first, prunes, goes on after a kill, and never ends worse than the defaults."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import numpy as np
import optuna
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.core.examples import Examples
from bidloop.models.folds import rolling_folds
from bidloop.models.hyperparameters import SPACES, Hyperparameters, Span
from bidloop.models.tuning import JOURNAL, Tuned, tune

Split = tuple[Examples, Examples]


@pytest.fixture
def trees_of_one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search in which nothing is quick but the default: leaves of the heaviest kind learn next to nothing."""
    monkeypatch.setitem(SPACES, "trees", {"min_child_weight": Span(15.0, 1e5, log=True)})


def without_times(tuned: Tuned) -> Tuned:
    kinds = {
        name: msgspec.structs.replace(
            kind, trials=tuple(msgspec.structs.replace(trial, seconds=0.0) for trial in kind.trials)
        )
        for name, kind in tuned.kinds.items()
    }
    return msgspec.structs.replace(tuned, kinds=kinds, seconds=0.0)


@pytest.mark.parametrize("kind", SPACES)
def test_the_default_lies_in_the_space_that_is_searched(kind: str) -> None:
    default = getattr(Hyperparameters(), kind)
    for name, span in SPACES[kind].items():
        value = getattr(default, name)
        assert span.low <= value <= span.high, name
        assert isinstance(value, int) == (isinstance(span.low, int) and isinstance(span.high, int)), name


def test_the_default_is_tried_first_and_the_proposal_beats_it_on_each_fold(split: Split) -> None:
    tuned = tune(*split, seed=1, trials=6, kinds=["constant", "trees", "ensemble"])
    assert list(tuned.kinds) == ["trees"]
    trees, default = tuned.kinds["trees"], Hyperparameters().trees
    assert trees.trials[0].settings == {name: getattr(default, name) for name in SPACES["trees"]}
    assert tuned.folds == 2
    assert len(trees.trials) == 6
    assert trees.default is not None
    assert trees.best is not None
    assert trees.best <= trees.default == trees.trials[0].loss
    proposed = {name: getattr(tuned.hyperparameters.trees, name) for name in SPACES["trees"]}
    [best] = [trial for trial in trees.trials if trial.settings == proposed]
    assert best.loss == trees.best
    assert all(a <= b for a, b in zip(best.folds, trees.trials[0].folds, strict=True))
    assert trees.history[0] == (0, trees.default)
    assert min(loss for _, loss in trees.history) <= trees.best


def test_where_nothing_is_better_the_default_is_proposed(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Hyperparameters().trees
    monkeypatch.setitem(SPACES, "trees", {"learning_rate": Span(1e-6, default.learning_rate, log=True)})
    tuned = tune(*split, seed=1, trials=4, kinds=["trees"])
    assert tuned.hyperparameters == Hyperparameters()
    assert tuned.kinds["trees"].best == tuned.kinds["trees"].default


@pytest.mark.usefixtures("trees_of_one_figure")
def test_trials_that_fall_behind_are_pruned(split: Split) -> None:
    trees = tune(*split, seed=1, trials=12, kinds=["trees"]).kinds["trees"]
    assert trees.counts["pruned"] >= 2
    assert trees.counts["complete"] >= 4
    assert all(trial.loss is None and not trial.folds for trial in trees.trials if trial.state == "pruned")


def test_the_same_seed_gives_the_same_result_and_another_another(split: Split) -> None:
    first, again = (tune(*split, seed=3, trials=4, kinds=["ftrl"]) for _ in range(2))
    assert without_times(first) == without_times(again)
    other = tune(*split, seed=4, trials=4, kinds=["ftrl"])
    assert [t.settings for t in other.kinds["ftrl"].trials[1:]] != [t.settings for t in first.kinds["ftrl"].trials[1:]]


def test_a_killed_tuning_goes_on_and_ends_where_it_would_have(split: Split, tmp_path: Path) -> None:
    whole = tune(*split, seed=1, trials=8, kinds=["trees"])
    heard = 0

    def kill(name: str, share: float) -> None:
        nonlocal heard
        heard += share >= 3 / 8
        if heard == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(*split, seed=1, trials=8, kinds=["trees"], folder=tmp_path, on_progress=kill)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "worker')  # half a line
    resumed = tune(*split, seed=1, trials=8, kinds=["trees"], folder=tmp_path)
    assert without_times(resumed) == without_times(whole)
    shares: list[float] = []
    again = tune(
        *split, seed=1, trials=8, kinds=["trees"], folder=tmp_path, on_progress=lambda name, share: shares.append(share)
    )
    assert again == resumed  # to the last figure: nothing was tried again
    assert shares == [1.0]


def test_other_rows_do_not_go_on_from_these(split: Split, tmp_path: Path) -> None:
    train, validation = split
    tune(train, validation, seed=1, trials=2, kinds=["ftrl"], folder=tmp_path)
    fewer = tune(train.take(slice(0, -50)), validation, seed=1, trials=1, kinds=["ftrl"], folder=tmp_path)
    assert len(fewer.kinds["ftrl"].trials) == 1


def test_a_file_that_cannot_be_read_is_put_aside(
    split: Split, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / JOURNAL).write_text("not what Optuna writes\n")
    with caplog.at_level(logging.WARNING, logger="bidloop.models"):
        tuned = tune(*split, seed=1, trials=1, kinds=["ftrl"], folder=tmp_path)
    assert tuned.kinds["ftrl"].counts == {"complete": 1}
    assert "put aside" in caplog.text
    assert (tmp_path / JOURNAL).with_suffix(".damaged").exists()


def test_a_setting_that_fails_is_recorded_and_passed_over(
    split: Split, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(SPACES, "trees", {"reg_lambda": Span(-1e6, 5.0)})  # XGBoost refuses what is below 0
    with caplog.at_level(logging.WARNING, logger="bidloop.models"):
        tuned = tune(*split, seed=1, trials=3, kinds=["trees"])
    assert tuned.kinds["trees"].counts == {"complete": 1, "failed": 2}
    assert tuned.hyperparameters == Hyperparameters()
    assert "Tuning trees" in caplog.text


def test_a_trial_without_a_number_for_a_loss_has_failed(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPACES, "network", {"learning_rate": Span(1e-3, 1e30, log=True)})
    tuned = tune(*split, seed=1, trials=2, kinds=["network"])
    assert tuned.kinds["network"].counts["failed"] >= 1
    assert tuned.kinds["network"].best is not None
    assert np.isfinite(tuned.kinds["network"].best)


def test_when_the_time_is_over_a_trial_in_progress_is_given_up(split: Split, tmp_path: Path) -> None:
    shares: list[float] = []
    tuned = tune(
        *split,
        seed=1,
        seconds=0.01,
        kinds=["dcn"],
        folder=tmp_path,
        on_progress=lambda name, share: shares.append(share),
    )
    assert tuned.kinds["dcn"].counts in ({"out of time": 1}, {})
    assert tuned.kinds["dcn"].default is None
    assert tuned.hyperparameters == Hyperparameters()
    assert max(shares) == shares[-1] == 1.0
    longer = tune(*split, seed=1, trials=1, kinds=["dcn"], folder=tmp_path)
    assert longer.kinds["dcn"].default is not None  # the default is tried first there too


def test_days_that_are_too_few_make_one_fold(split: Split) -> None:
    train, validation = split
    assert len(rolling_folds(train, validation)) == 2
    short = train.take(train.at >= validation.at.min() - np.timedelta64(2, "D"))
    assert len(rolling_folds(short, validation)) == 1


def test_no_later_row_helps_to_judge_an_earlier_one(split: Split) -> None:
    train, validation = split
    first, second = rolling_folds(train, validation)
    assert (len(first.rows), len(first.later)) == (len(train), len(validation))
    assert len(second.rows) + len(second.later) == len(train)
    border = np.searchsorted(train.at, train.at[len(second.rows)])
    assert train.at[:border].max() < train.at[border:].min()


def test_optuna_speaks_as_before_afterwards(split: Split, capsys: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    tune(*split, seed=1, trials=1, kinds=["ftrl"])
    assert optuna.logging.get_verbosity() == before
    assert capsys.readouterr().err == ""


def test_a_tuning_without_a_limit_or_of_an_unknown_kind_is_refused(split: Split) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        tune(*split, seed=1)
    with pytest.raises(ConfigurationError, match="forest"):
        tune(*split, seed=1, trials=1, kinds=["forest"])


def test_a_tuned_set_is_plain_data(split: Split) -> None:
    tuned = tune(*split, seed=1, trials=2, kinds=["ftrl"])
    assert msgspec.json.decode(msgspec.json.encode(tuned), type=Tuned) == tuned
