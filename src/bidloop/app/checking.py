"""Is everything in order before anything starts?"""

from __future__ import annotations

from typing import Literal

import msgspec

from bidloop.app.settings import Settings
from bidloop.app.wiring import champion, open_house, view_of
from bidloop.core.errors import BidloopError


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. ``missing`` is no fault yet: an empty house has no model."""

    what: str
    state: Literal["fine", "missing", "wrong"]
    detail: str


def findings(settings: Settings) -> list[Finding]:
    """Look at settings, database, history, feature view and model, in that order; the first fault ends it."""
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
        bundle = champion(house)
        if bundle is None:
            found.append(Finding(what=what, state="missing", detail="none yet. Run 'bidloop train'."))
        elif bundle.view_version != view.version:
            found.append(
                Finding(
                    what=what,
                    state="wrong",
                    detail=f"{bundle.version} reads feature view {bundle.view_version}. Run 'bidloop train' again.",
                )
            )
        else:
            found.append(Finding(what=what, state="fine", detail=f"{bundle.version}, checksums agree"))
    except BidloopError as error:
        found.append(Finding(what=what, state="wrong", detail=str(error)))
    return found


def _counted(what: str, counts: dict[str, int], remedy: str) -> Finding:
    if not counts:
        return Finding(what=what, state="missing", detail=f"none yet. {remedy}")
    return Finding(what=what, state="fine", detail=_listed(counts))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))
