"""The page of all ready-made features, written from their definitions: what `bidloop features docs` makes."""

from __future__ import annotations

from collections.abc import Iterable

from bidloop.app.features.tables import range_text
from bidloop.features.cards import FeatureCard, cards
from bidloop.features.lineage import lineage, origins
from bidloop.features.signal_sets import (
    SignalSet,
    calendar_signals,
    campaign_signals,
    market_signals,
    user_signals,
    with_signals,
)
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view

COUNTRY, SERIES = "DE", "consumer_confidence"
"""What stands for the country and for a series of one's own."""

_HEAD = """# Feature reference

Every ready-made feature, written by `bidloop features docs -o docs/feature-reference.md` from the definitions themselves.
`bidloop features list` shows those of your own view, `bidloop features show NAME` one of them in full.

How to read it: the *formula* has the feature's numbers in it; a feature of a keyword is drawn towards that of the ad group, that
towards the campaign's, and that towards the account's. *Over* says how the past fades: `7d` is an exponential fading of seven days'
mean life, `half-life 14d` halves every fourteen days. *Made of* names the amounts, and the types of events that tell them.
"""


def reference() -> str:
    """The page, as Markdown."""
    base = campaign_view()
    sets = (
        (
            "The campaign view",
            'In every view of campaigns (`features.view = "campaign"`): what the opportunity says, and what came so far of others '
            "like it.",
            SignalSet(),
        ),
        (
            "Campaign signals",
            'With `features.signals = ["campaign"]`: how keywords do over an hour, a day, a week and a month.',
            campaign_signals(),
        ),
        (
            "User signals",
            'With `features.signals = ["user"]`: what a user did. An opportunity without a user has none of these.',
            user_signals(),
        ),
        (
            "Calendar signals",
            f'With `features.signals = ["calendar"]`; holidays with `features.country`, here `{COUNTRY}`.',
            calendar_signals(COUNTRY),
        ),
        (
            "Market signals",
            'With `features.signals = ["market"]`: what happened around. Each of `features.series` becomes a feature, here '
            f"`{SERIES}`.",
            market_signals((SERIES,)),
        ),
    )
    return _HEAD + "".join(
        f"\n## {title}\n\n{text}\n\n{_table(base, with_signals(base, one))}" for title, text, one in sets
    )


def _table(base: FeatureView, view: FeatureView) -> str:
    """The features that a view has beside those of another; all, where it is that one."""
    before = () if view == base else (card.name for card in cards(base))
    known = frozenset(before)
    rows = [_row(view, card) for card in cards(view) if card.name not in known]
    head = ("feature", "what it is", "unit", "range", "over", "where nothing is known", "formula", "made of", "owner")
    return "".join(_line(row) for row in (head, ("---",) * len(head), *rows))


def _row(view: FeatureView, card: FeatureCard) -> tuple[str, ...]:
    made_of = "; ".join(f"{amount} ({', '.join(types)})" for amount, types in origins(lineage(view), card.name).items())
    return (
        f"`{card.name}`",
        card.description,
        card.unit,
        range_text(card.range),
        card.over,
        card.missing,
        f"`{card.formula}`",
        made_of or "the opportunity",
        card.owner,
    )


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
