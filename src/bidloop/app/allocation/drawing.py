"""One response curve as SVG: its interval, what was seen, today's point and the allocated one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from bidloop.app.allocation.content import CampaignAdvice
from bidloop.app.terminal import figure

WIDTH, HEIGHT = 340, 210
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 30


def chart(advice: CampaignAdvice, outcome: str) -> Markup:
    """The chart of one campaign; colours are classes of the page's style."""
    curve = advice.curve
    x_ticks, y_ticks = ticks(curve.spend[-1]), ticks(max(curve.high))
    right, top = curve.spend[-1], max(max(curve.high), y_ticks[-1])

    def x(spend: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * spend / right

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    def line(values: Sequence[float]) -> str:
        return " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(curve.spend, values, strict=True))

    back = " ".join(reversed(line(curve.low).split()))
    low, high = x(min(curve.seen[0], right)), x(min(curve.seen[1], right))
    today, then = advice.today.amount, advice.allocated.amount
    label = (
        f"{advice.campaign}: {advice.outcome_today.mean:,.4g} {outcome} a day at {advice.today} today, "
        f"{advice.outcome.mean:,.4g} at {advice.allocated}"
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">',
        f'<rect class="seen" x="{low:.1f}" y="{TOP}" width="{max(0.0, high - low):.1f}" '
        f'height="{HEIGHT - TOP - BOTTOM}"><title>spends that were seen</title></rect>',
    ]
    for tick in y_ticks:
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for tick in x_ticks:
        parts.append(f'<text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{short(tick)}</text>')
    parts += [
        f'<polygon class="band" points="{line(curve.high)} {back}"/>',
        f'<polyline class="curve" points="{line(curve.mean)}"/>',
        f'<line class="move" x1="{x(today):.1f}" y1="{y(advice.outcome_today.mean):.1f}" '
        f'x2="{x(then):.1f}" y2="{y(advice.outcome.mean):.1f}"/>',
        _whisker(x(then), y(advice.outcome.low), y(advice.outcome.high)),
        f'<circle class="today" cx="{x(today):.1f}" cy="{y(advice.outcome_today.mean):.1f}" r="5"/>',
        f'<circle class="then" cx="{x(then):.1f}" cy="{y(advice.outcome.mean):.1f}" r="5"/>',
        "</svg>",
    ]
    return Markup("".join(parts))  # numbers, and the escaped label


def ticks(top: float) -> list[float]:
    """Round numbers from 0 to at most `top`, three to six of them.

    >>> ticks(2817.0), ticks(0.9)
    ([0.0, 500.0, 1000.0, 1500.0, 2000.0, 2500.0], [0.0, 0.2, 0.4, 0.6, 0.8])
    """
    if top <= 0:
        return [0.0, 1.0]
    power = 10.0 ** math.floor(math.log10(top))
    step = next(part * power for part in (0.1, 0.2, 0.5, 1.0, 2.0) if top / (part * power) < 6)
    return [round(i * step, 12) for i in range(int(top / step) + 1)]


def short(number: float) -> str:
    """A number for an axis.

    >>> short(0.0), short(2500.0), short(0.25)
    ('0', '2,500', '0.25')
    """
    return f"{number:,.0f}" if number == 0 or number >= 10 else figure(number).rstrip("0").rstrip(".")


def _whisker(x: float, low: float, high: float) -> str:
    return f'<line class="whisker" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
