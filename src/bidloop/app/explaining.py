"""Why a bid was what it was: the record told to a person, and made again as the proof."""

from __future__ import annotations

import msgspec
from rich.markup import escape

from bidloop.app.terminal import out, print_table
from bidloop.core.decision import Decision
from bidloop.core.money import MICROS
from bidloop.core.prediction import Attribution, Interval
from bidloop.loop import Loop


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision, what the model leaned on, and whether making it again gave the same to the last bit.

    `differences` names the parts that came out otherwise; empty when `recomputed` is true.
    """

    decision: Decision
    attributions: list[Attribution]
    recomputed: bool
    differences: list[str]


def explanation(loop: Loop, decision_id: str) -> Explanation:
    """Look a decision up and make it again.

    Raises
    ------
    NotFound
        When no decision has this id, or its model or bidding settings are gone.
    """
    decision = loop.decision(decision_id)
    again = loop.recompute(decision)
    differences = [name for name in decision.__struct_fields__ if getattr(decision, name) != getattr(again, name)]
    return Explanation(
        decision=decision,
        attributions=loop.attributions(decision),
        recomputed=not differences,
        differences=differences,
    )


def print_explanation(told: Explanation) -> None:
    """Print the decision for a person."""
    decision, prediction = told.decision, told.decision.prediction
    about = decision.opportunity
    interval = prediction.ctr_interval
    cell = " · ".join(filter(None, (about.campaign_id, about.ad_group_id, about.keyword, about.device, about.location)))
    out.print(f"\n[bold]{decision.bid}[/bold] {about.charge.value.replace('_', ' ')} for {escape(cell)}")
    out.print(
        f"decided {decision.at:%Y-%m-%d %H:%M:%S} UTC by model {prediction.model_version}, policy {decision.policy}"
    )
    coverage = f", measured {interval.measured_coverage:.1%}" if interval.measured_coverage is not None else ""
    out.print(
        f"click rate {prediction.ctr:.4%} [{interval.lower:.4%}, {interval.upper:.4%}] "
        f"at {interval.level:.0%}{coverage}; the true one {_bounds(prediction.ctr_credible_interval)}; "
        f"conversion rate {prediction.conversion_rate:.3%} {_bounds(prediction.conversion_rate_interval)}; "
        f"confidence {prediction.confidence:.2f}; propensity of this bid {decision.propensity:.4g}"
    )
    for reason in decision.degraded:
        out.print(f"[yellow]degraded:[/yellow] {reason}")
    print_table(
        "Stages",
        [
            {"stage": s.name, "before": s.before / MICROS, "after": s.after / MICROS, "what happened": s.sentence}
            for s in decision.stages
        ],
    )
    if told.attributions:
        print_table(
            "What the model leaned on",
            [{"feature": a.feature, "value": a.value, "log odds": a.log_odds} for a in told.attributions],
        )
    for reason in decision.reasons:
        out.print(f"· {escape(reason)}")
    if told.recomputed:
        out.print("\n[green]Recomputed from its record: equal to the last bit.[/green]")
    else:
        out.print(f"\n[red]Recomputed from its record: differs in {', '.join(told.differences)}.[/red]")


def _bounds(interval: Interval | None) -> str:
    return "unknown" if interval is None else f"[{interval.lower:.4%}, {interval.upper:.4%}]"
