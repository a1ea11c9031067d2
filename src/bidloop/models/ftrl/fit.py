"""From rows to a trained FTRL model."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bidloop.models.candidate import OnEpoch
from bidloop.models.crosses import Cross, choose_crosses
from bidloop.models.encoding import require_features
from bidloop.models.ftrl.model import Ftrl, places, sizes
from bidloop.models.ftrl.proximal import Proximal
from bidloop.models.ftrl.settings import FtrlSettings
from bidloop.models.level import level, levelled_loss
from bidloop.models.levels import levels
from bidloop.models.relative import Relative
from bidloop.models.rows import Response, Rows

USUAL_EPOCHS = 3
FEWEST_EVENTS = 20
"""With fewer clicks (or conversions) than this the average is all that can be learned."""
MOST_ROWS = 200_000
"""Crosses are chosen on a sample of so many rows: each choice reads them once for each pair of categories."""


def fit_ftrl(
    rows: Rows,
    later: Rows | None = None,
    *,
    seed: int,
    settings: FtrlSettings = FtrlSettings(),  # noqa: B008 - frozen
    epochs: int = USUAL_EPOCHS,
    on_epoch: OnEpoch | None = None,
) -> Ftrl:
    """Choose crosses, and learn the weights of clicks on all rows and of conversions on those with a click.

    Parameters
    ----------
    later
        Rows of later days; training stops where they no longer gain. Without them it takes exactly `epochs`.
    seed
        Of the order of the rows.
    on_epoch
        Told the number of the epoch and the loss of the later rows; may raise.

    Raises
    ------
    InsufficientData
        When no feature differs between rows.
    Diverged
        When the weights left all bounds.
    """
    require_features(len(Relative(rows.encoding).names) + len(rows.encoding.categories))
    learning = _Learning(rows, settings, _chosen(rows, settings, seed), seed)
    best, least = learning.model(0), np.inf
    for epoch in range(1, (epochs if later is None else settings.most_epochs) + 1):
        learning.epoch()
        if later is None:
            best = learning.model(epoch) if epoch == epochs else best
            continue
        present = learning.model(epoch)
        loss = levelled_loss(present.logits(later.numeric, later.categories)[:, 0], later.click)
        if on_epoch is not None:
            on_epoch(epoch, loss)
        if loss < least:
            best, least = present, loss
        elif epoch - best.epochs > settings.patience:
            break
    return learning.levelled(best)


def _chosen(rows: Rows, settings: FtrlSettings, seed: int) -> tuple[Cross, ...]:
    """Crosses that help to predict each half of the rows beside a model that learned from the other half."""
    if settings.crosses == 0 or len(rows.encoding.categories) < 2:
        return ()
    random = np.random.default_rng(seed)
    rows = _take(rows, _sample(rows.click, random))
    half = random.random(len(rows)) < 0.5
    log_odds = np.zeros(len(rows))
    for part in (half, ~half):
        learning = _Learning(_take(rows, np.flatnonzero(~part)), settings, (), seed)
        for _ in range(USUAL_EPOCHS):
            learning.epoch()
        log_odds[part] = learning.model(0).logits(rows.numeric[part], rows.categories[part])[:, 0]
    fields = rows.encoding.categories
    return tuple(
        choose_crosses(
            np.column_stack([levels(field, rows.categories[:, j]) for j, field in enumerate(fields)]),
            [len(field.seen) for field in fields],
            rows.click,
            log_odds + rows.click.shift,
            most=settings.crosses,
            bits=settings.bits,
        )
    )


def _sample(response: Response, random: np.random.Generator) -> NDArray[np.int64]:
    """Some of the rows, and of those with a click as many as can be: sampling by the label moves the intercept alone."""
    order = random.permutation(len(response.positive))
    clicked = response.positive[order] > 0
    with_click, without = order[clicked], order[~clicked]
    kept = with_click[: max(MOST_ROWS // 2, MOST_ROWS - len(without))]
    return np.sort(np.concatenate((kept, without[: MOST_ROWS - len(kept)])))


def _take(rows: Rows, index: NDArray[np.int64]) -> Rows:
    click, conversion = (
        Response(response.positive[index], response.negative[index], response.shift)
        for response in (rows.click, rows.conversion)
    )
    return Rows(rows.encoding, rows.numeric[index], rows.categories[index], click, conversion, rows.maturity[index])


class _Learning:
    """The rows in the form that is learned from, and a learner for each outcome that has enough events."""

    def __init__(self, rows: Rows, settings: FtrlSettings, crosses: tuple[Cross, ...], seed: int) -> None:
        self.rows, self.settings, self.crosses = rows, settings, crosses
        numbers = Relative(rows.encoding).logs(rows.numeric)
        self.centre = numbers.mean(axis=0, dtype=np.float64).astype(np.float32)
        self.scale = np.maximum(numbers.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32)
        self.numbers = ((numbers - self.centre) / self.scale).astype(np.float64)
        self.places = places(rows.encoding, crosses, rows.categories)
        self.values = sum(sizes(rows.encoding, crosses))
        self.learners = [
            Proximal(settings, self.values, numbers.shape[1], response.base)
            for response in (rows.click, rows.conversion)
        ]
        self.random = np.random.default_rng(seed)
        self.used = [
            np.flatnonzero(response.total > 0) if response.enough(FEWEST_EVENTS) else np.zeros(0, dtype=np.int64)
            for response in (rows.click, rows.conversion)
        ]

    def epoch(self) -> None:
        """One pass over the rows in a new order."""
        for learner, response, used in zip(
            self.learners, (self.rows.click, self.rows.conversion), self.used, strict=True
        ):
            order = self.random.permutation(used)
            for start in range(0, len(order), self.settings.batch):
                batch = order[start : start + self.settings.batch]
                learner.learn(
                    self.numbers[batch], self.places[batch], response.positive[batch], response.negative[batch]
                )

    def model(self, epochs: int) -> Ftrl:
        """What has been learned so far."""
        weights = np.column_stack([learner.weights(slice(None)) for learner in self.learners])
        shifts = np.array([self.rows.click.shift, self.rows.conversion.shift])
        return Ftrl(
            self.rows.encoding,
            self.settings,
            self.crosses,
            self.centre,
            self.scale,
            np.array([learner.intercept for learner in self.learners]) - shifts,
            weights[1 + self.values :],
            weights[: 1 + self.values],
            epochs,
        )

    def levelled(self, model: Ftrl) -> Ftrl:
        """The model with intercepts at which predictions sum to what happened."""
        log_odds = model.logits(self.rows.numeric, self.rows.categories)
        constants = [
            level(log_odds[:, i], response, 0.0) if len(used) else 0.0
            for i, (response, used) in enumerate(zip((self.rows.click, self.rows.conversion), self.used, strict=True))
        ]
        return dataclasses.replace(model, intercepts=model.intercepts + constants)
