"""Logistic regression that learns from the data how much each field may say.

Every value of every category has a coefficient, drawn towards 0 as if from a normal distribution whose variance
belongs to the field: slots may differ a lot, cities hardly. The variances are not tuned but estimated with the
coefficients, by the evidence of the data (MacKay, "Bayesian Interpolation", 1992, section 4.4: ``variance = Σ
coefficient² / effective number of coefficients``), which is a mixed model with a random effect per field. A field
that tells nothing is switched off by its own variance, so that it does no harm to have many fields. A value that
training did not see has the coefficient 0, the field's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from bidloop.core.encoding import Encoding
from bidloop.models.candidate import Parameters
from bidloop.models.encoding import require_features
from bidloop.models.graph import Graph
from bidloop.models.levels import add_levels, levels
from bidloop.models.relative import Relative
from bidloop.models.rows import Response, Rows

ROUNDS = 6
"""Alternations of coefficients and variances; later ones move the log loss in the sixth digit."""
FIRST_VARIANCE = 0.25
SMALLEST_VARIANCE, LARGEST_VARIANCE = 1e-4, 4.0
FEWEST_EVENTS = 20
"""With fewer clicks (or conversions) than this the average is all that can be learned."""


@dataclass(frozen=True)
class Head:
    """Coefficients of one outcome.

    Parameters
    ----------
    intercept
        Log odds at coefficients of 0, with sampling undone.
    numeric
        Coefficients of the plain numeric columns, shape (number of plain columns,).
    effects
        One vector per category, shape (1 + seen,), with 0 for the unseen.
    deviations
        Standard deviation of each field's effects, by name of the field.
    """

    intercept: float
    numeric: NDArray[np.float64]
    effects: tuple[NDArray[np.float64], ...]
    deviations: dict[str, float]


@dataclass(frozen=True)
class Logistic:
    """Sum of one effect per category and a line per plain number, for clicks and for conversions.

    Rates and counts of the past are left to other models: here every effect is constant until the next training.
    """

    encoding: Encoding
    heads: tuple[Head, Head]
    name: str = "logistic"

    @property
    def parameters(self) -> Parameters:
        """Standard deviation of the effects of each field: how much it moves the log odds of a click."""
        return {f"deviation_{name}": round(value, 4) for name, value in self.heads[0].deviations.items()}

    def logits(self, numeric: NDArray[np.float32], categories: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log odds of n rows, shape (n, 2)."""
        relative = Relative(self.encoding)
        plain = relative.logs(numeric)[:, : relative.plain].astype(np.float64)
        places = [levels(field, categories[:, j]) for j, field in enumerate(self.encoding.categories)]
        return np.column_stack(
            [
                head.intercept + plain @ head.numeric + sum(head.effects[j][place] for j, place in enumerate(places))
                for head in self.heads
            ]
        )

    def build(self, graph: Graph) -> str:
        """One look-up per field and one matrix product."""
        intercept = graph.constant(np.array([[head.intercept for head in self.heads]], dtype=np.float32))
        effects = [
            np.column_stack([head.effects[j] for head in self.heads]).astype(np.float32)
            for j in range(len(self.encoding.categories))
        ]
        terms = [
            graph.add("Gather", graph.constant(effect), add_levels(graph, self.encoding, j), axis=0)
            for j, effect in enumerate(effects)
        ]
        relative = Relative(self.encoding)
        if relative.plain:
            plain = graph.columns(relative.add(graph, log=True), list(range(relative.plain)))
            slopes = np.column_stack([head.numeric for head in self.heads]).astype(np.float32)
            terms.append(graph.add("MatMul", plain, graph.constant(slopes)))
        return graph.add("Add", graph.add("Sum", *terms), intercept)


def fit_logistic(rows: Rows) -> Logistic:
    """Fit coefficients and variances for clicks on all rows and for conversions on those with a click.

    Raises
    ------
    InsufficientData
        When no category and no plain number differs between rows.
    """
    require_features(Relative(rows.encoding).plain + len(rows.encoding.categories))
    # L-BFGS calls BLAS for vectors so short that its threads do little but wait for each other: for minutes, where others
    # use the same cores. And the last digits would depend on the number of cores.
    with threadpool_limits(1, user_api="blas"):
        design = _Design(rows)
        return Logistic(rows.encoding, (design.fit(rows.click), design.fit(rows.conversion)))


class _Design:
    """The sparse matrix of the rows: one column per level and per plain number, in groups that share a variance."""

    def __init__(self, rows: Rows) -> None:
        relative = Relative(rows.encoding)
        plain = relative.logs(rows.numeric)[:, : relative.plain]
        blocks = []
        for j, field in enumerate(rows.encoding.categories):
            place = levels(field, rows.categories[:, j])
            known = np.flatnonzero(place)
            cells = (np.ones(len(known)), (known, place[known] - 1))
            blocks.append(sparse.csr_matrix(cells, shape=(len(rows), len(field.seen))))
        self.names = [field.name for field in rows.encoding.categories] + (["numbers"] if relative.plain else [])
        blocks += [sparse.csr_matrix(plain.astype(np.float64))] if relative.plain else []
        self.sizes = [block.shape[1] for block in blocks]
        self.plain = relative.plain
        self.matrix = sparse.hstack(blocks, format="csr")

    def fit(self, response: Response) -> Head:
        if not response.enough(FEWEST_EVENTS):
            return self._head(np.zeros(sum(self.sizes)), response.base - response.shift, np.zeros(len(self.sizes)))
        used = np.flatnonzero(response.total > 0)
        matrix = self.matrix[used]
        positive, total = response.positive[used], response.total[used]
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        variance = np.full(len(self.sizes), FIRST_VARIANCE)
        squares = matrix.multiply(matrix).T.tocsr()
        start, scale = np.append(np.zeros(len(group)), response.base), np.ones(len(group))
        for turn in range(ROUNDS):
            # The search runs in coefficient over deviation, where every direction has the same penalty.
            start[:-1] *= scale
            scale = np.sqrt(variance)[group]
            start[:-1] /= scale
            start = _most_probable(matrix @ sparse.diags(scale), positive, total, start)
            coefficients = start[:-1] * scale
            if turn < ROUNDS - 1:
                chance = expit(matrix @ coefficients + start[-1])
                spread = 1 / (squares @ (total * chance * (1 - chance)) + 1 / variance[group])
                effective = np.bincount(group, 1 - spread / variance[group], minlength=len(variance))
                squared = np.bincount(group, coefficients**2, minlength=len(variance))
                variance = np.clip(squared / np.maximum(effective, 1e-9), SMALLEST_VARIANCE, LARGEST_VARIANCE)
        return self._head(coefficients, float(start[-1]) - response.shift, np.sqrt(variance))

    def _head(self, coefficients: NDArray[np.float64], intercept: float, deviations: NDArray[np.float64]) -> Head:
        parts = np.split(coefficients, np.cumsum(self.sizes)[:-1])
        numeric = parts.pop() if self.plain else np.zeros(0)
        effects = tuple(np.concatenate(([0.0], part)) for part in parts)
        return Head(intercept, numeric, effects, dict(zip(self.names, deviations.tolist(), strict=True)))


def _most_probable(
    matrix: sparse.csr_matrix, positive: NDArray[np.float64], total: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients of highest posterior density under a standard normal prior, the free intercept last."""
    transposed = matrix.T.tocsr()

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = matrix @ point[:-1] + point[-1]
        loss = np.sum(np.logaddexp(0.0, log_odds) * total - positive * log_odds) + 0.5 * np.sum(point[:-1] ** 2)
        error = total * expit(log_odds) - positive
        return float(loss), np.append(transposed @ error + point[:-1], error.sum())

    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "ftol": 1e-7})
    return np.asarray(found.x, dtype=np.float64)
