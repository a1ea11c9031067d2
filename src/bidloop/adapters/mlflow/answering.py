"""What MLflow's errors mean here."""

from __future__ import annotations

import importlib
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from bidloop.core.errors import BidloopError, ConfigurationError, InvalidInput, Unavailable

REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")


@contextmanager
def answering(where: str) -> Iterator[None]:
    """Within, MLflow talks to the store at `where`; what goes wrong is told in our words.

    Raises
    ------
    ConfigurationError
        When the server does not let us in.
    InvalidInput
        When it refuses what it is told.
    Unavailable
        When it does not answer, or cannot do what it is asked.
    """
    with quiet():
        from mlflow.exceptions import MlflowException
    try:
        with quiet():
            yield
    except MlflowException as error:
        if error.error_code in REFUSED or _status(error) in (401, 403):
            raise ConfigurationError(
                f"the model registry at {where} does not let us in",
                expected="credentials in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
                remedy="Ask whoever runs the server.",
            ) from error
        if error.error_code == "INVALID_PARAMETER_VALUE":
            raise InvalidInput(f"the model registry at {where} refuses a run: {_first_line(error)}") from error
        raise unavailable(where, error) from error
    except BidloopError:
        raise
    except Exception as error:  # what a server answers that is none, a disk that is full: MLflow wraps it in nothing
        raise unavailable(where, error) from error


def _status(error: Exception) -> int:
    """The status of the answer, where there was one; MLflow tells it in words alone when the body is not its own."""
    found = re.search(r"failed with error code (\d{3})", str(error))
    return int(found.group(1)) if found else 0


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0][:200] if str(error) else ""
    # Errors of connections quote the whole address, in which a password may stand.
    return type(error).__name__ if "@" in text or not text else f"{type(error).__name__}: {text}"


def unavailable(where: str, error: Exception) -> Unavailable:
    """The registry at `where` did not do what it was asked."""
    return Unavailable(
        f"the model registry at {where} does not answer ({_first_line(error)})",
        expected="an MLflow server, or a file that MLflow can open",
        remedy="Models serve without it, and no run is lost: 'bidloop models record' records what is missing later.",
    )


@contextmanager
def quiet() -> Iterator[None]:
    """MLflow and Alembic do not tell of the tables they make, nor of what they will have to change with SQLAlchemy."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("mlflow")  # which sets the levels of its loggers
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
