"""A training recorded: kept on this machine first, then told to the registry, now or later."""

from __future__ import annotations

from datetime import datetime

from bidloop.app.models.house_models import Models
from bidloop.core.errors import BidloopError
from bidloop.retraining.code_version import code_version
from bidloop.retraining.evidence import Renewal
from bidloop.retraining.run import Parameters, Run


def record_training(
    models: Models, renewal: Renewal, *, trained_at: datetime, seconds: float, parameters: Parameters | None = None
) -> str:
    """Keep the run of a renewal, and have the registry record it.

    Parameters
    ----------
    trained_at, seconds
        When, and how long all of it took.
    parameters
        How it was set.

    Returns
    -------
    str
        Why the registry does not have it yet, and what then to do; empty where it has. The run is kept in any case.
    """
    run = Run(
        renewal=renewal, trained_at=trained_at, seconds=seconds, code=code_version(), parameters=dict(parameters or {})
    )
    models.logbook.keep(run)
    return told(models)


def told(models: Models) -> str:
    """Tell the registry what it does not know; says why it could not be told, or nothing."""
    try:
        models.tell()
    except BidloopError as error:  # the model serves, and its run is kept
        return str(error)
    return ""
