"""Stretches of later days that settings are compared on, each with the days before it to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np

from bidloop.core.errors import InsufficientData
from bidloop.core.examples import Examples
from bidloop.models.candidate import Candidate
from bidloop.models.encoding import fit_encoding
from bidloop.models.level import levelled_loss
from bidloop.models.rows import Rows

SPANS_BEFORE = 2
"""A stretch needs at least so many times its own length of days before it."""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, and later rows to judge by."""

    rows: Rows
    later: Rows

    @classmethod
    def of(cls, train: Examples, later: Examples) -> Fold:
        """Encode both as the earlier ones say.

        Raises
        ------
        InsufficientData
            When either part has no click or nothing but clicks.
        """
        encoding = fit_encoding(train)
        return cls(Rows.of(train, encoding), Rows.of(later, encoding))

    def loss(self, candidate: Candidate) -> float:
        """Loss of clicks on the later rows at their own level, in nats per (scaled) impression."""
        return levelled_loss(candidate.logits(self.later.numeric, self.later.categories)[:, 0], self.later.click)


def rolling_folds(train: Examples, validation: Examples) -> list[Fold]:
    """The validation days after the training days; and, where these are long enough, the days before in the same way.

    Raises
    ------
    InsufficientData
        When either part has no click or nothing but clicks.
    """
    folds = [Fold.of(train, validation)]
    span = validation.at.max() - validation.at.min()
    border = validation.at.min() - span
    earlier, later = train.take(train.at < border), train.take(train.at >= border)
    if len(later) and len(earlier) and border - train.at.min() >= SPANS_BEFORE * span:
        try:
            folds.append(Fold.of(earlier, later))
        except InsufficientData:
            return folds
    return folds


def fingerprint(folds: Sequence[Fold], seed: int, *settings: Any) -> str:
    """What the outcome of a trial depends on beside its own setting, in 16 hexadecimal digits."""
    digest = hashlib.sha256(msgspec.json.encode([version("bidloop"), seed, *settings]))
    for fold in folds:
        for rows in (fold.rows, fold.later):
            columns = rows.numeric, rows.categories, rows.click.positive, rows.click.negative
            for column in (*columns, rows.conversion.positive, rows.conversion.negative):
                digest.update(str(column.shape).encode())
                digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:16]
