"""Two models beside each other, and whether the difference can be believed."""

from __future__ import annotations

import msgspec

from bidloop.app.models.cards import ModelCard, ModelDetail


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two models were worth.

    Parameters
    ----------
    a, b
        Their cards.
    same_rows
        Whether both were judged on the very same held-out rows; `None` where that was not kept. Figures of different rows differ
        also where the models do not.
    differences
        b minus a, of each metric that both have.
    parameters
        Those that are not the same, as pairs of a and b; `None` where one has none of this name.
    """

    a: ModelCard
    b: ModelCard
    same_rows: bool | None
    differences: dict[str, float]
    parameters: dict[str, tuple[float | int | str | None, float | int | str | None]]


def compare(a: ModelDetail, b: ModelDetail) -> Comparison:
    """Put two models beside each other."""
    names = dict.fromkeys((*a.parameters, *b.parameters))
    return Comparison(
        a=a.card,
        b=b.card,
        same_rows=a.card.data == b.card.data if a.card.data and b.card.data else None,
        differences={
            name: b.card.metrics[name] - value for name, value in a.card.metrics.items() if name in b.card.metrics
        },
        parameters={
            name: (a.parameters.get(name), b.parameters.get(name))
            for name in names
            if a.parameters.get(name) != b.parameters.get(name)
        },
    )
