"""Writing a training run to MLflow: a parent run, a child for each candidate, the bundle and the plots."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bidloop.adapters.mlflow.description import PREFIX, evidence, note, parameters_of, steps, tags_of
from bidloop.retraining.evidence import CandidateEvidence
from bidloop.retraining.run import Parameters, Run, metrics_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo

BUNDLE, PLOTS, EVIDENCE = "bundle", "plots", "run.json"
"""Artifacts of a run: a folder, a folder, a file."""
KIND = "mlflow.experimentKind"
"""By it MLflow's pages open with runs and metrics; without it, with those about language models."""


class Recorder:
    """Records runs in one experiment.

    Parameters
    ----------
    client, experiment, model
        Of MLflow: the experiment is made if there is none of this name; several registered models may keep their runs in it.
    artifacts
        Where the artifacts of a new experiment go; `None` leaves it to the server.
    """

    def __init__(self, client: MlflowClient, experiment: str, model: str, artifacts: str | None) -> None:
        self._client, self._tags = client, {f"{PREFIX}model": model}
        self._experiment = _experiment(client, experiment, artifacts)

    @contextmanager
    def recording(self, run: Run, bundle: Path) -> Iterator[RunInfo]:
        """Write a run with all that belongs to it; it is finished when the context ends.

        One that fails before is marked as failed, and the next attempt removes it.
        """
        self._remove(run.version)
        began = int(time.time() * 1000)
        tags = self._tags | tags_of(run)
        parent = self._start(f"renewal {run.version}", began - round(run.seconds * 1000), tags)
        try:
            children = sum(candidate.seconds for candidate in run.renewal.candidates)
            at = began - round(children * 1000)
            for candidate in run.renewal.candidates:
                at = self._child(candidate, at, parent.run_id, tags)
            self._log(parent.run_id, run.parameters, run.metrics, {"mlflow.note.content": note(run)}, began)
            self._client.log_artifacts(parent.run_id, str(bundle), BUNDLE)
            self._client.log_text(parent.run_id, evidence(run), EVIDENCE)
            with tempfile.TemporaryDirectory() as folder:
                from bidloop.adapters.mlflow.figures import draw

                draw(run, Path(folder))
                self._client.log_artifacts(parent.run_id, folder, PLOTS)
            yield parent
        except BaseException:
            with suppress(Exception):  # the server that just failed may do so again
                self._client.set_terminated(parent.run_id, "FAILED")
            raise
        self._client.set_terminated(parent.run_id, "FINISHED", began)

    def _start(self, name: str, at: int, tags: dict[str, str], parent: str = "") -> RunInfo:
        nested = {"mlflow.parentRunId": parent} if parent else {}
        return self._client.create_run(self._experiment, at, tags | nested, name).info

    def _child(self, candidate: CandidateEvidence, at: int, parent: str, tags: dict[str, str]) -> int:
        """A run of one candidate's own, as long as its training took; says when it ended, in milliseconds."""
        from mlflow.entities import Metric

        child = self._start(candidate.kind, at, tags | {f"{PREFIX}kind": candidate.kind}, parent)
        end = at + round(candidate.seconds * 1000)
        for part in steps(candidate.curve):
            losses = [Metric("training/held-out loss", loss, end, step) for step, loss in part]
            self._client.log_batch(child.run_id, losses)
        self._log(child.run_id, candidate.parameters, metrics_of(candidate), {}, end)
        self._client.set_terminated(child.run_id, "FINISHED", end)
        return end

    def _log(
        self,
        run_id: str,
        parameters: Parameters,
        metrics: dict[str, float],
        tags: dict[str, str],
        at: int,
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            run_id,
            [Metric(name, value, at, 0) for name, value in metrics.items()],
            [Param(name, value) for name, value in parameters_of(parameters).items()],
            [RunTag(name, value) for name, value in tags.items()],
        )

    def _remove(self, version: str) -> None:
        """Take out what attempts that were cut off have left: MLflow keeps it among the deleted runs."""
        mine = " and ".join(f"tags.`{name}` = '{value}'" for name, value in self._tags.items())
        mine += f" and tags.`{PREFIX}version` = '{version}'"
        for run in self._client.search_runs([self._experiment], f"{mine} and attributes.status != 'FINISHED'"):
            children = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
            for child in self._client.search_runs([self._experiment], children):
                self._client.delete_run(child.info.run_id)
            self._client.delete_run(run.info.run_id)


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifacts, tags={KIND: "custom_model_development"}))
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)
