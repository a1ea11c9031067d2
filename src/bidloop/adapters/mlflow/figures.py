"""A run's plots: reliability, learning curves, candidates side by side, coverage by tier, maturity of conversions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidloop.outcomes.delay import DAY
from bidloop.retraining.evidence import CandidateEvidence, Renewal
from bidloop.retraining.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, GRID = "#1f2933", "#7b8794", "#e4e7eb"
SERIES = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#dc2626", "#0891b2", "#a16207", "#db2777")
"""Told apart also by most who do not see all colours, in this order."""
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 12.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 14,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.25,
}

Plot = Callable[["Axes", Renewal], bool]


def draw(run: Run, folder: Path) -> list[Path]:
    """Draw what there is to draw, one PNG each; says which. matplotlib's settings are put back as they were."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = []
    with rc_context(STYLE):
        for name, (plot, size) in PLOTS.items():
            figure = Figure(figsize=size, dpi=130)
            if plot(figure.add_subplot(), run.renewal):
                file = folder / f"{name}.png"
                figure.savefig(file)
                drawn.append(file)
    return drawn


def reliability(axes: Axes, renewal: Renewal) -> bool:
    """Observed against predicted click rates of the winner, in bins of equal mass."""
    points = renewal.best.clicks.curve
    if len(points) < 2:
        return False
    x, y = [100 * p.predicted for p in points], [100 * p.observed for p in points]
    below = [100 * max(0.0, p.observed - p.lower) for p in points]
    above = [100 * max(0.0, p.upper - p.observed) for p in points]
    least = min((value for value in (*x, *y) if value > 0), default=0.0)
    if not least:
        return False
    most = max(*x, *(value + up for value, up in zip(y, above, strict=True)))
    if most / least > 20:  # rare and frequent clicks in one picture
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.axline((least, least), (most, most), color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label="as promised")
    axes.errorbar(
        x,
        y,
        [below, above],
        fmt="o",
        color=SERIES[0],
        ecolor="#93b4f5",
        markersize=5.5,
        elinewidth=1.6,
        label="observed, 95 %",
    )
    _percent(axes.xaxis)
    _percent(axes.yaxis)
    axes.set(title=f"Do predicted click rates come true? ({renewal.winner})", xlabel="predicted", ylabel="observed")
    axes.legend(loc="upper left")
    return True


def learning(axes: Axes, renewal: Renewal) -> bool:
    """Held-out loss by epoch or tree round, against its lowest: kinds that learn at other paces share the axis."""
    curves = [one for one in renewal.candidates if len(one.curve) > 1]
    if not curves:
        return False
    for color, one in zip(SERIES * (1 + len(curves) // len(SERIES)), curves, strict=False):
        last, least = len(one.curve), min(one.curve)
        best = one.curve.index(least) + 1
        axes.plot([step / last for step in range(1, last + 1)], one.curve, color=color, linewidth=1.8)
        label = f"{one.kind}: best of {last} at {best}"
        axes.plot([best / last], [least], "o", color=color, markersize=6, label=label)
    axes.set(title="Loss on later days while training", xlabel="share of all epochs or trees", ylabel="log loss")
    axes.set_xlim(0, 1.02)
    axes.legend(loc="upper right")
    return True


def candidates(axes: Axes, renewal: Renewal) -> bool:
    """Log loss of each candidate on the held-out days with its bootstrap bounds, best at the top."""
    ranked = sorted(renewal.candidates, key=lambda one: -one.clicks.log_loss)
    for i, one in enumerate(ranked):
        loss, bounds = one.clicks.log_loss, one.clicks.bounds.get("log_loss")
        lower, upper = (bounds.lower, bounds.upper) if bounds else (loss, loss)
        color = SERIES[0] if one.kind == renewal.winner else QUIET
        axes.plot([lower, upper], [i, i], color=color, linewidth=2.4, solid_capstyle="round", alpha=0.55)
        axes.plot([loss], [i], "o", color=color, markersize=8)
        axes.annotate(f"{loss:.6f}", (loss, i), (0, 9), textcoords="offset points", ha="center", color=INK, fontsize=9)
    axes.set_yticks(range(len(ranked)), [_label(one, renewal) for one in ranked], color=INK)
    axes.set_ylim(-0.6, len(ranked) - 0.3)
    axes.grid(axis="y", visible=False)
    failed = f"; failed: {', '.join(renewal.failed)}" if renewal.failed else ""
    axes.set(
        title=f"Candidates on the held-out days{failed}",
        xlabel="log loss of clicks, 95 % bootstrap interval (lower is better)",
    )
    return True


def coverage(axes: Axes, renewal: Renewal) -> bool:
    """How often the intervals held, by tier of traffic, beside what they state."""
    told = renewal.coverage
    if told is None or not told.tiers:
        return False
    level, shares = told.level * 100, [tier.covered * 100 for tier in told.tiers]
    noise = [196 * (told.level * (1 - told.level) / max(1, tier.cells)) ** 0.5 for tier in told.tiers]
    axes.axhline(level, color=QUIET, linewidth=1, linestyle=(0, (4, 3)), label=f"stated: {told.level:.0%}")
    axes.bar(
        range(len(shares)),
        [2 * one for one in noise],
        bottom=[level - one for one in noise],
        width=0.5,
        color=GRID,
        label="what chance alone does",
    )
    axes.plot(range(len(shares)), shares, "o", color=SERIES[0], markersize=9, label="measured")
    for i, share in enumerate(shares):
        axes.annotate(f"{share:.1f} %", (i, share), (13, -3), textcoords="offset points", color=INK, fontsize=9.5)
    starts = [tier.support_from for tier in told.tiers]
    names = [f"{a:,.0f} – {b:,.0f}" for a, b in pairwise(starts)] + [f"from {starts[-1]:,.0f}"]
    axes.set_xticks(
        range(len(starts)), [f"{name}\n{tier.cells:,} cells" for name, tier in zip(names, told.tiers, strict=True)]
    )
    least = min(*shares, *(level - one for one in noise))
    axes.set_ylim(min(least - 1.5, 90), 100.5)
    axes.set_xlim(-0.6, len(starts) - 0.2)
    axes.grid(axis="x", visible=False)
    _percent(axes.yaxis)
    axes.set(title="Do the intervals keep their promise?", xlabel="past impressions of the cell", ylabel="covered")
    axes.legend(loc="lower right")
    return True


def maturity(axes: Axes, renewal: Renewal) -> bool:
    """Share of the conversions that is reported, by days since the click."""
    if renewal.delays is None:
        return False
    curve = renewal.delays.curve(None)
    days = [age / DAY for age in curve.ages]
    lower, middle, upper = ([100 * share for share in shares] for shares in (curve.lower, curve.shares, curve.upper))
    axes.fill_between(days, lower, upper, color=SERIES[0], alpha=0.15, linewidth=0)
    axes.plot(days, middle, color=SERIES[0], linewidth=2)
    axes.set_ylim(0, 102)
    axes.set_xlim(0, days[-1])
    _percent(axes.yaxis)
    axes.set(title="How late are conversions?", xlabel="days since the click", ylabel="reported by then")
    return True


def _label(candidate: CandidateEvidence, renewal: Renewal) -> str:
    if candidate.kind == renewal.winner:
        return f"{candidate.kind}\nwon"
    if candidate.behind is None:
        return candidate.kind
    return f"{candidate.kind}\n{'not told apart' if candidate.behind.lower <= 0 else 'worse'}"


def _percent(axis: object) -> None:
    from matplotlib.axis import Axis
    from matplotlib.ticker import FuncFormatter

    if isinstance(axis, Axis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} %"))


PLOTS: dict[str, tuple[Plot, tuple[float, float]]] = {
    "reliability": (reliability, (6.4, 5.6)),
    "candidates": (candidates, (7.6, 4.6)),
    "learning": (learning, (7.6, 4.6)),
    "coverage": (coverage, (7.6, 4.6)),
    "maturity": (maturity, (7.6, 4.2)),
}
