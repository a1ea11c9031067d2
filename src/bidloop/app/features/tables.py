"""Features and views as a person reads them in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.markup import escape

from bidloop.app.features.difference import UNUSED, Difference
from bidloop.app.features.house_features import FeatureUse, ViewUse
from bidloop.app.terminal import figure, out, print_table
from bidloop.features.cards import FeatureCard, cards
from bidloop.features.signal_sets import OWNER
from bidloop.features.signals import Bound
from bidloop.features.view import FeatureView

NARROW = 120
"""Columns of a terminal below which a list of features names less of each."""


def feature_rows(listed: Sequence[FeatureCard], columns: int) -> list[dict[str, Any]]:
    """One row for each feature, with as much of it as so many columns of a terminal hold.

    Owners are named where one is not the engine itself.
    """
    rows = [
        {
            "feature": card.name,
            "kind": card.kind,
            "entity": card.entity,
            "over": card.over,
            "unit": card.unit,
            "range": range_text(card.range),
            "owner": card.owner,
            "what it is": card.description,
        }
        for card in listed
    ]
    left_out = set() if any(card.owner != OWNER for card in listed) else {"owner"}
    left_out |= {"kind", "over", "unit", "range", "owner"} if columns < NARROW else set()
    return [{name: text for name, text in row.items() if name not in left_out} for row in rows]


def view_rows(known: Sequence[ViewUse]) -> list[dict[str, Any]]:
    """One row for each view."""
    return [
        {
            "view": one.version,
            "name": one.name,
            "kept": one.kept_at.isoformat(timespec="seconds") if one.kept_at else "",
            "features": one.features,
            "models": ", ".join(one.models),
            "use": ", ".join(word for word, holds in (("present", one.present), ("champion's", one.champion)) if holds),
        }
        for one in known
    ]


def print_feature(told: FeatureUse) -> None:
    """Print one feature in full."""
    card = told.card
    out.print(f"\n[bold]{escape(card.name)}[/bold] (view {told.view})")
    out.print(escape(card.description))
    lines = {
        "kind": f"{card.kind} of the {card.entity.replace('_', ' ')}" if card.entity else card.kind,
        "formula": card.formula,
        "over": card.over,
        "unit": card.unit,
        "range": range_text(card.range),
        "unknown": card.missing,
        "owner": card.owner,
        "models": ", ".join(told.models) or "none on the shelf reads it",
    }
    for name, text in lines.items():
        if text:
            out.print(f"  {name:8} {escape(text)}")
    for amount, sources in told.amounts.items():
        out.print(f"  made of  {escape(amount)}: {escape(', '.join(sources))}")
    if told.opportunity:
        out.print(f"  read     opportunity: {escape(', '.join(told.opportunity))}")
    if told.values is None:
        out.print("No decision among the last was made with this view.")
        return
    seen = told.values
    out.print(f"  values   {seen.decisions - seen.missing:,} in the last {seen.decisions:,} decisions of this view")
    for name, value in seen.quantiles.items():
        out.print(f"           {name} {figure(value)}")
    for text, count in seen.common.items():
        out.print(f"           {escape(text)}: {count:,}")


def print_view(view: FeatureView) -> None:
    """Print a view: its settings, its entities, its features."""
    out.print(f"\nView [bold]{view.version}[/bold] ({escape(view.name)})")
    for name in ("timezone", "lag_seconds", "resolution_seconds", "base_ctr", "base_conversion_rate"):
        out.print(f"  {name.replace('_', ' '):20} {escape(str(getattr(view, name)))}")
    print_table(
        "Entities",
        [
            {"entity": name, "key": ", ".join(view.key_of(name)) or "(all)", "part of": parent}
            for name, parent in view.hierarchy.items()
        ],
    )
    print_table("Features", feature_rows(cards(view), out.width))


def print_difference(told: Difference) -> None:
    """Print what two views do not have in common."""
    if told.before == told.after:
        out.print(f"View {told.before} and view {told.after} are the same.")
        return
    out.print(f"From view [bold]{told.before}[/bold] to view [bold]{told.after}[/bold]")
    for name in told.added:
        out.print(f"[green]+ {escape(name)}[/green]")
    for name in told.removed:
        out.print(f"[red]- {escape(name)}[/red]")
    if told.changed and not (told.added or told.removed) and all(UNUSED in one.what for one in told.changed):
        out.print("No feature changes.")
    rows = [
        {
            "feature": one.feature or "(the view)",
            "what": one.what,
            "before": _text(one.before),
            "after": _text(one.after),
        }
        for one in told.changed
    ]
    if rows:
        print_table("Changed", rows)


def range_text(bounds: tuple[Bound, Bound]) -> str:
    """A range as a person writes it.

    >>> range_text((0.0, None)), range_text((None, None)), range_text((-1.0, 1.0))
    ('0 …', '', '-1 … 1')
    """
    low, high = bounds
    if low is None and high is None:
        return ""
    return f"{'' if low is None else f'{low:g}'} … {'' if high is None else f'{high:g}'}".strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
