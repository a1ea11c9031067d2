"""What this room needs from outside: a registry of runs and model versions."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec

from bidloop.retraining.run import Run

SHOWN = ("clicks/log_loss", "clicks/auc", "intervals/coverage")


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A model version as a registry knows it.

    Parameters
    ----------
    version
        Of the bundle; the same as on the shelf.
    number
        What the registry counts it as.
    kind, trained_at, view_version
        What it holds, since when, and which feature view it reads.
    data_until, metrics
        The last row it was judged on, and the metrics that a list shows (`SHOWN`), as far as they were measured.
    run
        What the registry calls its run, where its plots are.
    """

    version: str
    number: int
    kind: str
    trained_at: datetime
    view_version: str
    data_until: datetime
    metrics: dict[str, float]
    run: str


class Registry(Protocol):
    """Where runs are recorded and bundles are versions of one registered model.

    Every method raises `Unavailable` when the registry does not answer.
    """

    def record(self, run: Run, bundle: Path) -> Registered:
        """Record a run with its bundle, and make the bundle the newest version.

        The same version again changes nothing; what was left half-recorded is recorded anew.

        Raises
        ------
        NotFound, CorruptArtifact
            When the bundle is not one.
        InvalidInput
            When the registry refuses the run.
        """
        ...

    def versions(self) -> list[Registered]:
        """The versions that are there, newest first; what another program wrote, and cannot be read, is left out."""
        ...

    def alias(self, *, champion: str | None, challenger: str | None) -> None:
        """Have the aliases stand for these versions.

        Where others share the registry, an alias for which there is none here, or none that the registry knows, is left alone;
        in a registry of this house's own it is taken away.
        """
        ...

    def run(self, version: str) -> Run:
        """The run of a version, as it was recorded.

        Raises
        ------
        NotFound
            When the registry does not know it.
        """
        ...

    def fetch(self, version: str, folder: Path) -> Path:
        """Copy the bundle of a version to ``folder / version``, unchecked, and say where that is.

        Raises
        ------
        NotFound
            When the registry does not know it, or has no bundle of it.
        """
        ...
