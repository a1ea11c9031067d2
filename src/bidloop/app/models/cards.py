"""A model as a card: what it is, what it was worth on the held-out days, and where it is."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec

from bidloop.prediction.bundle import Bundle
from bidloop.retraining.ports import Registered
from bidloop.retraining.promotions import Change
from bidloop.retraining.run import MEASURES, Run


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One line about a model.

    Parameters
    ----------
    version, kind
        Which, and what it holds.
    aliases
        ``champion`` for the one that serves, ``challenger`` for the one that was trained last and does not.
    trained_at, data_until
        When it was trained, and the time of the last row it was judged on; `None` where that was not kept.
    view_version
        The feature view that it reads.
    metrics
        On the held-out days, such as ``clicks/log_loss``; ``intervals/coverage`` is the share of cells that were covered.
    data
        Fingerprint of the rows that it was trained and judged on; empty where that was not kept.
    on_shelf, registered
        Whether it is on this machine, and in the registry.
    damaged
        Why its bundle cannot be loaded; empty where it can, or is not here.
    """

    version: str
    kind: str = ""
    aliases: tuple[str, ...] = ()
    trained_at: datetime | None = None
    data_until: datetime | None = None
    view_version: str = ""
    metrics: dict[str, float] = {}
    data: str = ""
    on_shelf: bool
    registered: bool
    damaged: str = ""


class ModelDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model.

    Parameters
    ----------
    card
        Its line.
    parameters
        What its kind was trained with.
    holds
        What the bundle holds beside its graph, as plain data: ``calibration``, ``intervals``, ``conversion_intervals`` and
        ``order_value``, and whether there is a ``landscape``. Empty where the bundle is not here, or damaged.
    size
        Bytes of its files on this machine.
    run
        Its training; `None` where none was kept.
    registered, registry
        Its version in the registry, whose run has the plots; `None` where the registry does not know it. And where that is.
    changes
        When it began to serve, and when it was taken back.
    """

    card: ModelCard
    parameters: dict[str, float | int | str]
    holds: dict[str, Any]
    size: int
    run: Run | None
    registered: Registered | None
    registry: str
    changes: tuple[Change, ...]


def metrics_of(bundle: Bundle) -> dict[str, float]:
    """What a bundle itself tells of its worth, in the words of a `Run`: all there is for models whose run was not kept."""
    told = {}
    for what in ("clicks", "conversions"):
        quality = bundle.metrics.get(what)
        if not isinstance(quality, dict):
            continue
        for name in MEASURES:
            value = quality.get(name)
            if isinstance(value, int | float) and math.isfinite(value):
                told[f"{what}/{name}"] = float(value)
    if bundle.intervals is not None and bundle.intervals.measured_coverage is not None:
        told["intervals/coverage"] = bundle.intervals.measured_coverage
    return told
