"""How the features of the last decisions were: what `bidloop features health` tells."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from bidloop.app.terminal import out, print_table
from bidloop.app.wiring import House
from bidloop.core.feature_table import UNAVAILABLE, FeatureTable
from bidloop.features.health import FeatureHealth
from bidloop.features.verdicts import Health, Thresholds, judge
from bidloop.features.view import FeatureView


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the features are.

    Parameters
    ----------
    view, decisions
        Version of the view, and how many of the last decisions are of it.
    other_views
        How many are of another, by version: their values may mean something else, and are not judged.
    without_features
        How many were made without any, because the store of features did not answer.
    newest
        When the newest event of each type that is in the log happened.
    features
        Each feature with its verdict.
    """

    view: str
    decisions: int
    other_views: dict[str, int]
    without_features: int
    newest: dict[str, datetime]
    features: list[Health]

    @property
    def wrong(self) -> list[Health]:
        """The features that are not fine."""
        return [one for one in self.features if one.verdict != "fine"]

    @property
    def fine(self) -> bool:
        """Whether something was looked at, and nothing of it is wrong."""
        return self.decisions > 0 and not self.wrong and not self.without_features


def feature_health(house: House, view: FeatureView, last: int, thresholds: Thresholds) -> HealthReport:
    """Look at the values that the last decisions recorded, and at how new the events are that they come from."""
    vectors = [decision.features for decision in house.decisions.recent(last)]
    own = [vector for vector in vectors if vector.view == view.version]
    others = Counter(vector.view for vector in vectors if vector.view != view.version)
    without = others.pop(UNAVAILABLE, 0)
    health = FeatureHealth(view)
    if own:
        health.add(FeatureTable.from_rows(own))
    newest = house.log.newest()
    return HealthReport(
        view=view.version,
        decisions=len(own),
        other_views=dict(others),
        without_features=without,
        newest=newest,
        features=judge(view, health.tallies(), newest, house.clock.now(), thresholds),
    )


def print_health(told: HealthReport) -> None:
    """Print the report for a person."""
    if told.decisions:
        rows = [
            {
                "feature": one.name,
                "entity": one.entity,
                "available": _percent(one.availability),
                "missing": _percent(one.missing),
                "out of range": "" if one.outside is None else _percent(one.outside),
                "newest event": _ago(one.fresh_seconds),
                "lowest": one.lowest,
                "highest": one.highest,
                "verdict": one.verdict,
            }
            for one in told.features
        ]
        print_table(f"Features of view {told.view} in the last {told.decisions:,} decisions", rows)
    else:
        out.print(f"[red]Nothing to look at: no decision among the last was made with view {told.view}.[/red]")
    for version, count in told.other_views.items():
        out.print(f"{count:,} decisions were made with view {version}, and are not judged.")
    if told.without_features:
        out.print(
            f"[red]{told.without_features:,} decisions were made without features: their store did not answer.[/red]"
        )
    if not told.decisions:
        return
    if told.wrong:
        out.print(f"[red]{len(told.wrong)} of {len(told.features)} features are not fine.[/red]")
    else:
        out.print(f"[green]All {len(told.features)} features are fine.[/green]")


def _percent(share: float) -> str:
    return "0 %" if share == 0 else f"{share:.1%}".replace("%", " %")


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return ""
    steps: list[tuple[float, str]] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")]
    size, unit = next((step for step in steps if seconds >= step[0]), steps[-1])
    return f"{seconds / size:.3g} {unit}"
