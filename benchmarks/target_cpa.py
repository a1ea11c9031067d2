"""An average CPA that keeps its target: what a month buys beyond "each win at the target", and what late conversions do to it.

``python -m benchmarks.target_cpa [--json] [--months N]``

Four weeks of second-price auctions for clicks, 80 an hour or 8, with prices that rise with the conversion rate; the target CPA is
40. The model promises the true rate, or 1.3 or 1.5 times it, or 0.77; a conversion comes at once, or after five days on average;
a click of average rate costs 1.25 of what it is worth at the target, or 1.8. Ways of bidding:

* each win: the value at the target, never above (the peer);
* average: times the multiplier of `TargetPacer`;
* not delay-corrected: the same, but told that conversions come at once.

Printed are the CPA of all months together, the highest of one month, how many of them ended above the target, and what was
bought by the wins' true rates, as a share of what one multiplier, known beforehand, buys with its average at the target. All
conversions count, also those that come after the month.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

import msgspec
import numpy as np

from bidloop.bidding.pacing.targets import TargetPacer, TargetSettings
from bidloop.core.money import Money

START = datetime(2026, 3, 2, tzinfo=UTC)
TARGET = 40.0
ORDER_VALUE = 80.0
DAYS = 28
CASES: tuple[dict[str, float], ...] = (
    {},
    {"promises": 1.3},
    {"promises": 1.5},
    {"promises": 0.77},
    {"delay": 5.0},
    {"promises": 1.3, "delay": 5.0},
    {"price": 1.8},
    {"promises": 1.3, "price": 1.8},
    {"clicks": 8},
    {"promises": 1.3, "delay": 5.0, "clicks": 8},
)
WAYS = ("each win", "average", "not delay-corrected")


class Month(msgspec.Struct, frozen=True):
    """How four weeks ended. `expected` and `best` are free of luck: what the wins, and the best multiplier, bring by true rates."""

    cpa: float
    conversions: float
    expected: float
    best: float
    multipliers: tuple[float, ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How one way of bidding did over many months."""

    promises: float
    delay: float
    price: float
    clicks: float
    way: str
    months: int
    cpa: float
    highest: float
    above: int
    bought: float
    conversions: float


def exponential(days: float) -> Callable[[str, datetime, datetime], float]:
    def maturity(campaign_id: str, click_at: datetime, now: datetime) -> float:
        return -math.expm1(-(now - click_at) / timedelta(days=days))

    return maturity


@cache
def month(
    *,
    promises: float = 1.0,
    delay: float = 0.0,
    price: float = 1.25,
    clicks: float = 80,
    seed: int = 0,
    way: str = "average",
    roas: bool = False,
) -> Month:
    """Four weeks of auctions, bid for hour by hour; `delay` in days."""
    rng, luck = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    told_maturity = exponential(delay) if delay and way != "not delay-corrected" else lambda campaign_id, at, now: 1.0
    cpa, value = (None, ORDER_VALUE / TARGET) if roas else (TARGET, None)
    pacer = TargetPacer(TargetSettings(), target_cpa=cpa, target_roas=value, maturity=told_maturity)
    waiting: list[tuple[datetime, datetime]] = []
    rates, prices, multipliers = [], [], []
    cost = conversions = bought = 0.0
    for hour in range(DAYS * 24):
        at = START + timedelta(hours=hour)
        for _, click_at in [late for late in waiting if late[0] <= at]:
            pacer.record_conversions("brand", click_at, 1, ORDER_VALUE)
        waiting = [late for late in waiting if late[0] > at]
        n = rng.poisson(clicks)
        rate = np.minimum(0.5, 0.03 * np.exp(rng.normal(-0.18, 0.6, n)))
        charged = price * TARGET * 0.03 * (rate / 0.03) ** 0.4 * np.exp(rng.normal(0, 0.6, n))
        multipliers.append(1.0 if way == "each win" else pacer.multiplier("brand", at))
        won = charged <= multipliers[-1] * promises * rate * TARGET
        middle = at + timedelta(minutes=30)
        spent, expected = float(charged[won].sum()), float(promises * rate[won].sum())
        pacer.record_charge("brand", middle, Money.of(spent), expected, expected * ORDER_VALUE, int(won.sum()))
        came = int((luck.random(won.sum()) < rate[won]).sum())
        waiting += [(middle + timedelta(days=luck.exponential(delay)), middle) for _ in range(came)]
        cost, conversions, bought = cost + spent, conversions + came, bought + float(rate[won].sum())
        rates.append(rate)
        prices.append(charged)
    rate, charged = np.concatenate(rates), np.concatenate(prices)
    order = np.argsort(charged / rate)
    affordable = np.flatnonzero(np.cumsum(charged[order]) <= TARGET * np.cumsum(rate[order]))
    best = float(rate[order][: affordable[-1] + 1].sum())
    return Month(cost / conversions, conversions, bought, best, tuple(multipliers))


def run(months: int, cases: tuple[dict[str, float], ...] = CASES, ways: tuple[str, ...] = WAYS) -> list[Row]:
    rows = []
    for case in cases:
        full = {"promises": 1.0, "delay": 0.0, "price": 1.25, "clicks": 80} | case
        for way in ways:
            if way == "not delay-corrected" and not full["delay"]:
                continue
            found = [month(**full, seed=seed, way=way) for seed in range(months)]
            conversions = sum(one.conversions for one in found)
            rows.append(
                Row(
                    **full,
                    way=way,
                    months=months,
                    cpa=sum(one.cpa * one.conversions for one in found) / conversions,
                    highest=max(one.cpa for one in found),
                    above=sum(one.cpa > TARGET for one in found),
                    bought=sum(one.expected for one in found) / sum(one.best for one in found),
                    conversions=conversions / months,
                )
            )
    return rows


def show(rows: list[Row]) -> None:
    print(f"{'promises':<10}{'delay':>6}{'price':>7}{'clicks':>8}  {'way':<20}", end="")
    print(f"{'CPA':>7}{'highest':>9}{'above':>8}{'bought':>9}{'a month':>9}")
    for row in rows:
        print(f"{row.promises:<10g}{row.delay:>6g}{row.price:>7g}{row.clicks:>8g}  {row.way:<20}", end="")
        print(
            f"{row.cpa:>7.2f}{row.highest:>9.2f}{row.above:>5}/{row.months:<2}{row.bought:>9.1%}{row.conversions:>9.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--months", type=int, default=20, help="months of each case")
    options = parser.parse_args()
    rows = run(options.months)
    if options.json:
        print(json.dumps(msgspec.to_builtins(rows)))
        return
    show(rows)


if __name__ == "__main__":
    main()
