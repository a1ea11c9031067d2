"""Is everything in order before anything starts?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bidloop.app.feature_difference import difference
from bidloop.app.featuring import reads_of
from bidloop.app.settings import Settings
from bidloop.app.wiring import House, champion, open_house, view_of
from bidloop.core.errors import BidloopError, ConfigurationError
from bidloop.events.batches import failed_batches
from bidloop.events.ports import Kept
from bidloop.features.amounts import closest
from bidloop.features.view import FeatureView
from bidloop.prediction.bundle import Bundle

MOST = 3
"""Differences that are told; the rest is counted."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``missing`` is no fault yet: an empty house has no model."""

    what: str
    state: Literal["fine", "missing", "wrong"]
    detail: str


def findings(settings: Settings) -> list[Finding]:
    """Look at settings, database, stream, feature view and model, in that order; what cannot be opened ends it."""
    found = [
        Finding(what="settings", state="fine", detail=f"home {settings.home}, {settings.currency}, {settings.timezone}")
    ]
    what = "database"
    try:
        house = open_house(settings)
        counts = house.log.counts()
        found.append(_counted("events", counts, "Run 'bidloop ingest'."))
        kept = house.quarantine.counts()
        found.append(Finding(what="quarantine", state="fine", detail=_listed(kept) or "empty"))
        what = "batches"
        found.append(_failed(failed_batches(house.quarantine)))
        what = "stream"
        found.append(_stream(house))
        what = "feature view"
        view = view_of(house)
        found.append(
            Finding(
                what=what,
                state="fine",
                detail=f"{view.name} {view.version}: {len(view.numeric_names)} numeric, {len(view.categorical_names)} categorical",
            )
        )
        what = "model"
        found.append(_model(champion(house), view))
    except BidloopError as error:
        found.append(Finding(what=what, state="wrong", detail=str(error)))
    return found


def refuse_failed_batches(house: House) -> None:
    """Accept in silence that no batch waits to be mended, or say which do.

    Raises
    ------
    ConfigurationError
        When a batch has failed its expectations: what it tells is missing, and a model would learn from the hole.
    """
    if failed := failed_batches(house.quarantine):
        raise ConfigurationError(
            f"{len(failed)} batches that failed their expectations: {', '.join(kept.row.source for kept in failed)}",
            expected="none, since a model would learn from what is missing",
            remedy="Mend them and ingest them again. 'bidloop quarantine dismiss' gives one up; "
            "--despite-failed-batches trains once without.",
        )


def _model(bundle: Bundle | None, view: FeatureView) -> Finding:
    if bundle is None:
        return Finding(what="model", state="missing", detail="none yet. Run 'bidloop train'.")
    trained = msgspec.convert(bundle.view, FeatureView)
    known = (*trained.numeric_names, *trained.categorical_names)
    if lacking := [name for name in reads_of(bundle) if name not in known]:
        asked = "; ".join(f"{name!r}. {closest(name, known)}".strip() for name in lacking)
        return Finding(what="model", state="wrong", detail=f"{bundle.version} asks for what its view has not: {asked}")
    if bundle.view_version == view.version:
        return Finding(what="model", state="fine", detail=f"{bundle.version}, checksums agree")
    told = difference(trained, view)
    words = [f"{name!r} is gone. {closest(name, told.added)}".strip() for name in told.removed]
    words += [f"{name!r} is new" for name in told.added]
    words += [f"{change.what} of {change.feature or 'the view'!r} is another" for change in told.changed]
    return Finding(
        what="model",
        state="wrong",
        detail=f"{bundle.version} reads feature view {bundle.view_version}: {'; '.join(words[:MOST])}"
        f"{f' and {len(words) - MOST} more' if len(words) > MOST else ''}. Run 'bidloop train' again; "
        "'bidloop features diff champion present' tells all.",
    )


def _failed(failed: Sequence[Kept]) -> Finding:
    if not failed:
        return Finding(what="batches", state="fine", detail="none has failed its expectations")
    files = ", ".join(kept.row.source for kept in failed)
    return Finding(
        what="batches", state="wrong", detail=f"failed: {files}. Mend and ingest again; 'train' waits for it."
    )


def _stream(house: House) -> Finding:
    if house.stream is None:
        return Finding(what="stream", state="fine", detail="none: events go straight to the log")
    lag = house.stream.lag()
    detail = f"{lag.items:,} events behind, the oldest for {lag.oldest_seconds:.0f} s"
    behind = lag.items > house.settings.stream.max_behind_items or (
        lag.oldest_seconds > house.settings.stream.max_behind_seconds
    )
    return Finding(what="stream", state="wrong" if behind else "fine", detail=detail)


def _counted(what: str, counts: dict[str, int], remedy: str) -> Finding:
    if not counts:
        return Finding(what=what, state="missing", detail=f"none yet. {remedy}")
    return Finding(what=what, state="fine", detail=_listed(counts))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))
