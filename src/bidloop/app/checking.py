"""Is everything in order before anything starts?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bidloop.app.features.difference import difference
from bidloop.app.features.house_features import reads_of
from bidloop.app.settings import Settings
from bidloop.app.wiring import House, champion, open_house, open_store, served_view, view_of
from bidloop.core.errors import BidloopError, ConfigurationError, closest
from bidloop.core.opportunity import Opportunity
from bidloop.events.batches import failed_batches
from bidloop.events.ports import Kept
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
    """Look at all that a start needs, from the settings on; what cannot be opened ends it."""
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
    for what, look in (("kept views", _views), ("feature store", _store), ("lineage", _lineage)):
        try:
            found.append(look(house))
        except BidloopError as error:
            found.append(Finding(what=what, state="wrong", detail=str(error)))
    house.close()
    return found


def _views(house: House) -> Finding:
    """Whether the kept views are what they were; one that is damaged keeps nothing from starting but those who ask for it."""
    kept = house.views.names()
    for version in kept:
        house.views.view(version)
    return Finding(what="kept views", state="fine", detail=f"{len(kept)}, as they were kept" if kept else "none yet")


def _store(house: House) -> Finding:
    """Whether the store of features answers."""
    store, kind = open_store(house, served_view(house)), house.settings.features.store
    store.read([Opportunity(opportunity_id="check", at=house.clock.now(), campaign_id="check")])
    return Finding(
        what="feature store", state="fine", detail="in each process" if kind == "memory" else f"{kind}, answers"
    )


def _lineage(house: House) -> Finding:
    """Whether trainings are told of, and can be."""
    target = house.settings.features.lineage
    if not target:
        return Finding(what="lineage", state="fine", detail="nobody is told")
    from bidloop.adapters.openlineage.sender import LineageSender

    sender = LineageSender(target)
    sender.close()
    return Finding(what="lineage", state="fine", detail=f"trainings are told to {sender.where}")


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
        asked = "; ".join(_near(repr(name), name, known) for name in lacking)
        return Finding(what="model", state="wrong", detail=f"{bundle.version} asks for what its view has not: {asked}")
    if bundle.view_version == view.version:
        return Finding(what="model", state="fine", detail=f"{bundle.version}, checksums agree")
    return Finding(
        what="model",
        state="wrong",
        detail=f"{bundle.version} reads feature view {bundle.view_version}: {what_changed(trained, view)}. "
        "Run 'bidloop train' again; 'bidloop features diff champion present' tells all.",
    )


def what_changed(trained: FeatureView, view: FeatureView) -> str:
    """The first few differences between the view that a model was trained on and another one, in words.

    >>> from bidloop.features.views import campaign_view
    >>> what_changed(campaign_view(measures=["quality"]), campaign_view("Europe/Paris", ["quality_score"]))
    "'quality' is gone (did you mean 'quality_score'?); 'quality_score' is new; the view's timezone is another and 3 more"
    """
    told = difference(trained, view)
    words = [_near(f"{name!r} is gone", name, told.added) for name in told.removed]
    words += [f"{name!r} is new" for name in told.added]
    words += [
        f"{change.what} of {change.feature!r} is another" if change.feature else f"the view's {change.what} is another"
        for change in told.changed
    ]
    if not words:
        return "the same definition meant other values then"
    more = f" and {len(words) - MOST} more" if len(words) > MOST else ""
    return "; ".join(words[:MOST]) + more


def _near(said: str, name: str, known: Sequence[str]) -> str:
    """What is said of a name, with the one that may be meant."""
    near = closest(name, known)
    return f"{said} ({near[:1].lower()}{near[1:]})" if near else said


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
