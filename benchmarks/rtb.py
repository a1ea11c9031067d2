"""Bidding under a budget on iPinYou campaign 2997: the published policies, ours, and the ceiling.

``python -m benchmarks.rtb [--json] [--log FOLDER] [--budget 1/32 ...] [--settings]``
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import msgspec

from bidloop.adapters.rlb.benchmark import BUDGETS, parse_budget, run_log
from bidloop.adapters.rlb.reader import read_log
from bidloop.bidding.policies.adaptive_dual import AdaptiveDual
from bidloop.bidding.policies.spend_curve import PricePrior
from bidloop.experiments.rtb_benchmark import EPISODE, Benchmark, Difference, compare, run

PUBLISHED = ("1/32", "1/16", "1/8", "1/4")
"""Budgets at which RLB's clicks are known from an independent replay: 78, 119, 176 and 259."""
HALF_LIVES = (500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16_000.0)
PRIOR_STRENGTHS = (50.0, 200.0, 1000.0, 5000.0)


def default_log() -> Path:
    root = Path(os.environ.get("BIDLOOP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    return root / "ipinyou_rlb_dp" / "2997"


def progress(what: str, share: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}  {what:<40}", end="\n" if share == 1 else "", file=sys.stderr, flush=True)


def differences(benchmark: Benchmark) -> list[Difference]:
    """Ours against the strongest published policy and against the best linear bid, wherever both ran."""
    ran = {budget for _, budget in benchmark.by_episode}
    pairs = (("rlb", PUBLISHED), ("lin", BUDGETS), ("lin (hindsight)", BUDGETS))
    shared = [(other, [budget for budget in budgets if budget in ran]) for other, budgets in pairs]
    return [compare(benchmark, "ours", other, budgets) for other, budgets in shared if budgets]


def settings_table(folder: Path) -> Benchmark:
    """Ours with other settings: how much hangs on them."""
    log = read_log(folder)
    prior = PricePrior.from_histogram(log.training.price_counts, worth=log.training.ctr)
    policies = {
        f"half_life={half_life:g}": lambda budget, h=half_life: AdaptiveDual(prior, half_life=h)
        for half_life in HALF_LIVES
    } | {
        f"prior_strength={strength:g}": lambda budget, s=strength: AdaptiveDual(prior, prior_strength=s)
        for strength in PRIOR_STRENGTHS
    }
    budgets = {b: log.training.episode_budget(parse_budget(b), EPISODE) for b in PUBLISHED}
    return run(log.auctions, budgets, policies, on_progress=progress)


def show(benchmark: Benchmark) -> None:
    print(f"{'budget':<8}{'policy':<24}{'clicks':>8}{'impressions':>13}{'cost':>12}{'expected clicks':>17}")
    for row in benchmark.rows:
        figures = f"{row.clicks:>8,}{row.impressions:>13,}{row.spend:>12,.0f}{row.expected_clicks:>17.1f}"
        print(f"{row.budget:<8}{row.policy:<24}{figures}")


def show_sums(benchmark: Benchmark) -> None:
    ran = {row.budget for row in benchmark.rows}
    if not ran.issuperset(PUBLISHED):
        return
    print(f"\nsums over {', '.join(PUBLISHED)}")
    for policy in dict.fromkeys(row.policy for row in benchmark.rows):
        rows = [row for row in benchmark.rows if row.policy == policy and row.budget in PUBLISHED]
        print(f"{policy:<32}{sum(row.clicks for row in rows):>8,}{sum(row.expected_clicks for row in rows):>42.1f}")


def show_difference(difference: Difference) -> None:
    low, high = difference.clicks_interval
    expected_low, expected_high = difference.expected_clicks_interval
    print(
        f"{difference.policy} - {difference.against} over {', '.join(difference.budgets)}: "
        f"{difference.clicks:+.0f} clicks "
        f"(95 % {low:+.0f} to {high:+.0f}), {difference.expected_clicks:+.1f} expected "
        f"({expected_low:+.1f} to {expected_high:+.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--log", type=Path, default=default_log(), help="a campaign's folder")
    parser.add_argument("--budget", action="append", help="such as 1/32; repeat for several (default: all six)")
    parser.add_argument("--settings", action="store_true", help="ours with other settings instead")
    options = parser.parse_args()
    if options.settings:
        result, against = settings_table(options.log), []
    else:
        result = run_log(options.log, options.budget or BUDGETS, on_progress=progress)
        against = differences(result)
    if options.json:
        print(json.dumps({"rows": msgspec.to_builtins(result.rows), "differences": msgspec.to_builtins(against)}))
        return
    show(result)
    show_sums(result)
    print()
    for difference in against:
        show_difference(difference)


if __name__ == "__main__":
    main()
