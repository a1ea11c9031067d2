"""A training from start to end: tuned if that is asked, trained, promoted if that is wanted, and recorded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bidloop.app.features.lineage import told_training
from bidloop.app.models.house_models import Models
from bidloop.app.models.recording import record_training
from bidloop.app.wiring import House
from bidloop.core.errors import ConfigurationError
from bidloop.loop import Loop
from bidloop.models.hyperparameters import Hyperparameters
from bidloop.retraining.evidence import Renewal

Progress = Callable[[str, float], None]


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """What a training left.

    Parameters
    ----------
    renewal
        The model, and the evidence for it.
    promoted
        Whether it serves.
    settings_from
        Where the hyper-parameters came from: ``defaults``, ``tuned now``, or the file of an earlier tuning.
    unrecorded
        Why the registry does not have it yet, and what to do; empty where it has.
    """

    renewal: Renewal
    promoted: bool
    settings_from: str
    unrecorded: str


def train(
    house: House,
    loop: Loop,
    *,
    tune_seconds: float | None = None,
    defaults: bool = False,
    promote: bool = True,
    on_progress: Progress | None = None,
) -> Trained:
    """Train every candidate, put the best on the shelf, and record how it came about.

    Parameters
    ----------
    tune_seconds
        Look for better hyper-parameters for so long before; what is found is kept for later trainings.
    defaults
        Whether to leave an earlier tuning aside.
    promote
        Whether the best serves at once; otherwise it is the challenger.

    Raises
    ------
    InsufficientData
        When there are too few rows or days.
    Unavailable
        When another process trains in this house.
    ConfigurationError
        When an earlier tuning was kept and cannot be read.
    """
    start = time.monotonic()
    file = house.home / "hyperparameters.json"
    hyperparameters, source = (None, "defaults") if defaults or tune_seconds is not None else _kept(file)
    with told_training(house, loop.view) as run:
        renewal = loop.renew(on_progress, hyperparameters=hyperparameters, tune_seconds=tune_seconds, promote=promote)
        run.trained(renewal.version)
    if renewal.tuned:
        source = "tuned now"
        _keep(file, renewal.hyperparameters)
    unrecorded = record_training(
        Models(house.settings),
        renewal,
        trained_at=house.clock.now(),
        seconds=time.monotonic() - start,
        parameters={"hyperparameters": source, **_figures(loop)},
    )
    return Trained(renewal=renewal, promoted=promote, settings_from=source, unrecorded=unrecorded)


def _figures(loop: Loop) -> dict[str, float | int | str]:
    renewal = loop.renewal
    return {
        "seed": renewal.seed,
        "held_out_days": renewal.held_out_days,
        "validation_days": "a quarter" if renewal.validation_days is None else renewal.validation_days,
        "level": renewal.level,
    }


def _kept(file: Path) -> tuple[Hyperparameters | None, str]:
    if not file.exists():
        return None, "defaults"
    try:
        return msgspec.json.decode(file.read_bytes(), type=Hyperparameters), str(file)
    except (msgspec.MsgspecError, OSError) as error:
        raise ConfigurationError(
            f"hyper-parameters in {file} that cannot be read ({error})",
            expected="what a tuning wrote",
            remedy="Delete the file, train with --defaults, or tune again.",
        ) from error


def _keep(file: Path, hyperparameters: dict[str, Any]) -> None:
    temporary = file.with_suffix(".part")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(hyperparameters), indent=2))
    os.replace(temporary, file)
