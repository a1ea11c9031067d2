"""The models of a house: on the shelf, in the registry, or both; found by version, its beginning, or an alias."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bidloop.adapters.mlflow.registry import MlflowRegistry
from bidloop.app.models.cards import ModelCard, ModelDetail, metrics_of
from bidloop.app.settings import Settings
from bidloop.core.errors import (
    BidloopError,
    ConfigurationError,
    CorruptArtifact,
    InvalidInput,
    NotFound,
    Unavailable,
    closest,
)
from bidloop.prediction.bundle import Bundle, load_bundle
from bidloop.prediction.predictor import Predictor
from bidloop.retraining.logbook import Logbook
from bidloop.retraining.ports import Registered
from bidloop.retraining.run import Run
from bidloop.retraining.shelf import Shelf

if TYPE_CHECKING:
    pass

HELD = ("calibration", "intervals", "conversion_intervals", "order_value")
"""What of a bundle is told as plain data."""

ALIASES = ("champion", "challenger")


class Models:
    """What models there are, which serves, and which shall.

    Parameters
    ----------
    settings
        Of the house whose models they are. No database is opened, and the registry not before it is needed, so that a promotion
        or a roll-back holds whatever else is down.

    Attributes
    ----------
    shelf, logbook
        Bundles, and runs.
    silent
        Why the registry could not be asked; empty where it was not asked, or answered.
    """

    def __init__(self, settings: Settings) -> None:
        self._home, self._settings = Path(settings.home), settings.registry
        self.shelf, self.logbook = Shelf(self._home / "models"), Logbook(self._home / "runs")
        self.silent = ""

    @cached_property
    def registry(self) -> MlflowRegistry:
        """What is told of bundles and runs."""
        return MlflowRegistry(self._settings, self._home / "mlflow")

    def cards(self) -> list[ModelCard]:
        """All models, the latest trained first."""
        return sorted(
            (self.card(version) for version in self._versions()),
            key=lambda card: (card.trained_at.timestamp() if card.trained_at else 0.0, card.version),
            reverse=True,
        )

    def find(self, word: str) -> str:
        """The version that a word means: a version, its beginning, ``champion`` or ``challenger``.

        The registry is asked only for what nothing on the shelf is called.

        Raises
        ------
        NotFound
            When there is none, with the closest, or several begin so.
        """
        if word in ALIASES:
            version = self.shelf.champion() if word == "champion" else self.shelf.challenger()
            if version is None:
                raise NotFound(
                    f"no {word}",
                    expected="a version, or its first letters",
                    remedy="'bidloop models list' shows what there is.",
                )
            return version
        known = self.shelf.versions()
        if not (found := _called(word, known)):
            known = self._versions()
            found = _called(word, known)
        if len(found) == 1:
            return found[0]
        if found:
            raise NotFound(
                f"models {', '.join(found)} all begin with {word!r}",
                expected="the beginning of one",
                remedy="Give more of its letters.",
            )
        raise NotFound(
            f"no model {word!r} on the shelf or in the registry" + (" (which does not answer)" if self.silent else ""),
            expected="a version, the beginning of one, 'champion' or 'challenger'",
            remedy=closest(word, [*known, *ALIASES]) or "'bidloop models list' shows what there is.",
        )

    def card(self, version: str) -> ModelCard:
        """One model's line."""
        return self._card(version, self._run(version), self._bundle(version))

    def detail(self, version: str) -> ModelDetail:
        """All that is known of a model; its run is fetched from the registry where it is not kept here."""
        bundle, run = self._bundle(version), self._run(version)
        if run is None and version in self._registered:
            try:
                run = self.registry.run(version)
            except BidloopError as error:  # what else is known is told
                self.silent = str(error)
        parameters: dict[str, float | int | str] = run.renewal.best.parameters if run else {}
        holds = {}
        if isinstance(bundle, Bundle):
            parameters = bundle.model.parameters
            holds = {name: msgspec.to_builtins(getattr(bundle, name)) for name in HELD}
            holds["landscape"] = bundle.landscape is not None
        folder = self.shelf.folder / version
        registered = self._registered.get(version)
        return ModelDetail(
            card=self._card(version, run, bundle),
            parameters=parameters,
            holds=holds,
            size=sum(file.stat().st_size for file in folder.iterdir()) if folder.is_dir() else 0,
            run=run,
            registered=registered,
            registry=self.registry.store.where if registered else "",
            changes=tuple(change for change in self.shelf.promotions.changes() if change.version == version),
        )

    def promote(self, version: str) -> str | None:
        """Have a version serve, after all of it was checked; says which served before, which may be the same.

        It is fetched where it is not here.

        Raises
        ------
        NotFound, CorruptArtifact
            When there is no such bundle, or it cannot be loaded. What serves goes on.
        Unavailable
            When it would have to be fetched, and the registry does not answer; when another process changed the champion
            meanwhile.
        """
        before = self.shelf.champion()
        self._ready(version)
        self.shelf.promote(version, expected=before)
        return before

    def roll_back(self) -> tuple[str, str]:
        """Have the champion before serve again; says from which to which.

        Raises
        ------
        NotFound, CorruptArtifact, Unavailable
            As `promote`, and when there was none before.
        """
        before, previous = self.shelf.champion(), self.shelf.previous()
        if before is not None and previous is not None:
            self._ready(previous)
        return before or "", self.shelf.roll_back(expected=before)

    def tell(self) -> list[str]:
        """Have the registry record the runs that it does not know, and its aliases follow the shelf; says which were recorded.

        Only bundles that are on the shelf can be recorded. One that is refused keeps none of the others, nor the aliases, waiting.

        Raises
        ------
        Unavailable
            When it does not answer. The same again later makes up for it.
        InvalidInput
            When it refuses runs, after all others were recorded.
        """
        known = {one.version: one for one in self.registry.versions()}
        kept = self.logbook.registered()
        missing = []
        for version in self.shelf.versions():
            if version in known:
                if kept.get(version) != known[version]:
                    self.logbook.recorded(known[version])
            elif (run := self._run(version)) is not None and isinstance(self._bundle(version), Bundle):
                missing.append(run)
        recorded, refused = [], []
        for run in sorted(missing, key=lambda run: run.trained_at):
            try:
                self.logbook.recorded(self.registry.record(run, self.shelf.path(run.version)))
                recorded.append(run.version)
            except (Unavailable, ConfigurationError):  # the others would fare no better
                raise
            except BidloopError as error:
                refused.append(f"{run.version}: {error}")
        if known or recorded:
            self.registry.alias(champion=self.shelf.champion(), challenger=self.shelf.challenger())
        if refused:
            raise InvalidInput("; ".join(refused))
        return recorded

    def _ready(self, version: str) -> None:
        if version not in self.shelf.versions():
            with self.shelf.room() as room:
                self.shelf.adopt(self.registry.fetch(version, Path(room)))
        Predictor(load_bundle(self.shelf.path(version)))  # its graphs open, too

    def _versions(self) -> list[str]:
        return list(dict.fromkeys((*self.shelf.versions(), *self._registered)))

    @cached_property
    def _registered(self) -> dict[str, Registered]:
        """What the registry knows, by version. A file in this house knows no more than it answered, and takes seconds to open."""
        if not self._settings.url:
            return self.logbook.registered()
        try:
            return {one.version: one for one in self.registry.versions()}
        except (Unavailable, ConfigurationError) as error:
            self.silent = str(error)
            return self.logbook.registered()

    def _run(self, version: str) -> Run | None:
        try:
            return self.logbook.run(version)
        except CorruptArtifact:  # what the bundle itself tells is told
            return None

    def _bundle(self, version: str) -> Bundle | BidloopError | None:
        """The bundle, why it cannot be loaded, or `None` where it is not on the shelf."""
        if version not in self.shelf.versions():
            return None
        try:
            return load_bundle(self.shelf.path(version))
        except (CorruptArtifact, NotFound) as error:
            return error

    def _card(self, version: str, run: Run | None, bundle: Bundle | BidloopError | None) -> ModelCard:
        registered = self._registered.get(version)
        serving = {"champion": self.shelf.champion(), "challenger": self.shelf.challenger()}
        card = ModelCard(
            version=version,
            aliases=tuple(alias for alias in ALIASES if serving[alias] == version),
            on_shelf=bundle is not None,
            registered=registered is not None,
            damaged=bundle.found if isinstance(bundle, BidloopError) else "",
        )
        if registered is not None:
            card = msgspec.structs.replace(
                card,
                kind=registered.kind,
                trained_at=registered.trained_at,
                data_until=registered.data_until,
                view_version=registered.view_version,
                metrics=registered.metrics,
            )
        if isinstance(bundle, Bundle):
            card = msgspec.structs.replace(
                card,
                kind=bundle.model.name,
                trained_at=bundle.created_at,
                view_version=bundle.view_version,
                metrics=metrics_of(bundle),
                data=str(bundle.metrics.get("data", "")),
            )
        if run is not None:
            card = msgspec.structs.replace(
                card,
                kind=run.renewal.winner,
                trained_at=run.trained_at,
                data_until=run.renewal.data.last,
                view_version=run.renewal.view_version,
                metrics=card.metrics | run.metrics,
                data=run.renewal.data.fingerprint,
            )
        return card


def _called(word: str, known: list[str]) -> list[str]:
    """The versions that a word may mean: itself, or all that begin with it."""
    return [word] if word in known else [version for version in known if word and version.startswith(word)]
