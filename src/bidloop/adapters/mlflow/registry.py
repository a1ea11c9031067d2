"""Bundles as the versions of one registered model in MLflow."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bidloop.adapters.mlflow.answering import answering
from bidloop.adapters.mlflow.connection import Store
from bidloop.adapters.mlflow.description import PREFIX, note, tags_of
from bidloop.adapters.mlflow.recording import BUNDLE, EVIDENCE, Recorder
from bidloop.core.errors import ConfigurationError, CorruptArtifact, NotFound
from bidloop.prediction.bundle import load_bundle
from bidloop.retraining.ports import SHOWN, Registered
from bidloop.retraining.registry_settings import RegistrySettings
from bidloop.retraining.run import Run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

NAME = re.compile(r"[\w .-]+")
"""What MLflow can be asked for by name: it has no way to quote a quote."""


class MlflowRegistry:
    """Implements `bidloop.retraining.ports.Registry` on an MLflow store, which is opened when it is first needed.

    Parameters
    ----------
    settings
        Which store, and what things are called in it.
    folder
        Where the SQLite file lies, if it is one.

    Raises
    ------
    ConfigurationError
        When the settings name what MLflow cannot have.
    """

    def __init__(self, settings: RegistrySettings, folder: Path) -> None:
        if not NAME.fullmatch(settings.name):
            raise ConfigurationError(
                f"registry.name = {settings.name!r}", expected="letters, digits, spaces, '_', '.' and '-'"
            )
        self._name, self._experiment = settings.name, settings.experiment
        self.store = Store(settings.url, folder)

    @cached_property
    def _client(self) -> MlflowClient:
        return self.store.open()

    def record(self, run: Run, bundle: Path) -> Registered:
        """As the port says."""
        load_bundle(bundle)  # what is damaged is no version
        client = self._client
        with answering(self.store.where), self.store.alone():
            self._make_model()
            known = self._find(run.version)
            if known is None:
                recorder = Recorder(client, self._experiment, self._name, self.store.artifacts)
                with recorder.recording(run, bundle) as told:
                    source, tags = f"{told.artifact_uri}/{BUNDLE}", tags_of(run)
                    known = client.create_model_version(self._name, source, told.run_id, tags, description=note(run))
            return _registered(known)

    def versions(self) -> list[Registered]:
        """As the port says."""
        if not self.store.exists:
            return []
        client, token = self._client, None
        found: list[Registered] = []
        with answering(self.store.where):
            while token != "":
                page = client.search_model_versions(f"name = '{self._name}'", max_results=1000, page_token=token)
                for one in page:
                    with suppress(KeyError, ValueError):  # another program's, or one that somebody changed
                        found.append(_registered(one))
                token = page.token or ""
        newest: dict[str, Registered] = {}
        for known in sorted(found, key=lambda known: -known.number):
            newest.setdefault(known.version, known)
        return list(newest.values())

    def alias(self, *, champion: str | None, challenger: str | None) -> None:
        """As the port says."""
        client = self._client
        with answering(self.store.where), self.store.alone():
            if (present := self._aliases()) is None:
                return
            meant = {"champion": champion, "challenger": challenger}
            numbers = {
                alias: str(known.version)
                for alias, version in meant.items()
                if version is not None and (known := self._find(version)) is not None
            }
            for alias in meant:
                number, stands = numbers.get(alias), present.get(alias)
                if number is None:
                    # On a server it may be another house's; but what this one has serve is no challenger any more.
                    if stands is not None and (not self.store.url or stands == numbers.get("champion")):
                        client.delete_registered_model_alias(self._name, alias)
                elif stands != number:
                    client.set_registered_model_alias(self._name, alias, number)
                    at = datetime.now(UTC).isoformat(timespec="seconds")
                    client.set_model_version_tag(self._name, number, f"{PREFIX}{alias}_since", at)

    def run(self, version: str) -> Run:
        """As the port says."""
        client = self._client
        with answering(self.store.where), tempfile.TemporaryDirectory() as room:
            data = Path(client.download_artifacts(str(self._get(version).run_id), EVIDENCE, room)).read_bytes()
        try:
            return msgspec.json.decode(data, type=Run)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CorruptArtifact(f"an unreadable run of {version} at {self.store.where} ({error})") from error

    def fetch(self, version: str, folder: Path) -> Path:
        """As the port says."""
        client, target = self._client, folder / version
        with answering(self.store.where), tempfile.TemporaryDirectory(dir=folder) as room:
            fetched = Path(client.download_artifacts(str(self._get(version).run_id), BUNDLE, room))
            shutil.move(fetched, target)
        return target

    def _make_model(self) -> None:
        from mlflow.exceptions import MlflowException

        with suppress(MlflowException):  # it is there already; what else may be wrong is told by the next call
            self._client.create_registered_model(
                self._name, description="Bundles that Bidloop trained: ONNX and JSON, every byte checksummed."
            )

    def _get(self, version: str) -> ModelVersion:
        known = self._find(version)
        if known is None:
            raise NotFound(
                f"no model {version!r} in the registry at {self.store.where}",
                expected="a version that was recorded",
                remedy="'bidloop models record' records what is missing.",
            )
        return known

    def _find(self, version: str) -> ModelVersion | None:
        if not version.isalnum():  # it becomes part of a question
            return None
        asked = f"name = '{self._name}' and tags.`{PREFIX}version` = '{version}'"
        return max(self._client.search_model_versions(asked), key=lambda one: int(one.version), default=None)

    def _aliases(self) -> dict[str, str] | None:
        """Number of the version of each alias; `None` before the first is recorded."""
        found = self._client.search_registered_models(f"name = '{self._name}'")
        return {alias: str(number) for alias, number in found[0].aliases.items()} if found else None


def _registered(known: ModelVersion) -> Registered:
    """A version as its tags tell it; raises KeyError or ValueError where they do not."""
    tags = known.tags
    return Registered(
        version=tags[f"{PREFIX}version"],
        number=int(known.version),
        kind=tags.get(f"{PREFIX}kind", ""),
        trained_at=datetime.fromisoformat(tags[f"{PREFIX}trained_at"]),
        view_version=tags.get(f"{PREFIX}view_version", ""),
        data_until=datetime.fromisoformat(tags[f"{PREFIX}data.last"]),
        metrics={name: float(told) for name in SHOWN if (told := tags.get(f"{PREFIX}metrics.{name}")) is not None},
        run=str(known.run_id),
    )
