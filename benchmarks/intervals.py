"""Do intervals keep their promise? 95 % intervals of click and conversion rates, held against the truth and against the next day.

``python -m benchmarks.intervals [--json] [--part market|ipinyou|report] [--seeds 21,22,23,24,25] [--auctions 100000]
[--kinds smoothed,trees]``

1. **market**: the simulated market, whose true rates are known. Four weeks of a cell's days (campaign × keyword × device ×
   location), of which the last two are for validation, then a week to be judged on. Credible intervals of click and
   conversion rate against the *true* rates of each cell and day; one market for each seed, and all of them together.
2. **ipinyou**: season 2, 6-9 June to fit, 10 June to validate, 11 and 12 June to judge on. Prediction intervals against the
   *observed* click rates of campaign × slot on a day.
3. **report**: the display campaign report, day by day from the fifth week: models fitted anew each week to all days before,
   intervals learned from the predictions of the last fourteen days. Prediction intervals against the *observed* click rates of
   campaign × engagement × banner × placement on the coming day.

The peers know the cell's own past counts, as a spreadsheet does: Wald, Wilson and Jeffreys intervals (Brown, Cai and DasGupta,
"Interval Estimation for a Binomial Proportion", 2001), and the prediction plus or minus 0.95. A cell without a past is
anything to them. Those three are about a true rate; against *observed* rates stand two more, which ask what ours asks:
Jeffreys' predictive interval, the beta-binomial of the past counts and the number of coming impressions, which it is told and
ours is not; and the central 95 % of the cell's own past days.

In parts 1 and 2 the kind of model is the one that predicts best on the days that are judged, as in a renewal, which promotes on
the days that it measures on; in part 3 it is the best of the week before. An interval passes if it covers 93 to 97 % (the
sparsest tier 90 to 99 %): one that is too wide fails as well.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, expit
from scipy.stats import betabinom

from benchmarks import ctr
from bidloop.adapters.campaign_report.mapping import display_campaign_report
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.core.event import CampaignReported
from bidloop.core.examples import Examples
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.cells import cell_keys
from bidloop.features.training import point_in_time
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view, display_view
from bidloop.models.fit import Trial, fit_trials
from bidloop.prediction.calibration import fit_calibration
from bidloop.prediction.intervals import counted_well, fit_intervals, group_cells
from bidloop.prediction.quality import log_loss
from bidloop.prediction.scoring import Scorer
from bidloop.simulation.world import World, WorldSettings

Floats: TypeAlias = NDArray[np.float64]
Pair: TypeAlias = tuple[Floats, Floats]

LEVEL, Z = 0.95, 1.959964
KINDS = ("smoothed", "logistic", "trees", "network")
WEEK, FIT_DAYS, DAYS = 7, 14, 35
AUCTIONS = 100_000
"""A day; the account wins about half of them."""
JITTER = 0.6
"""Standard deviation of the logarithm of the account's bids: which impressions it wins."""
REPORT_FROM, LEARNED_DAYS, VALIDATED_DAYS = 28, 14, 4
MICROSECOND, DAY = np.timedelta64(1, "us"), np.timedelta64(1, "D")


class Row(msgspec.Struct, frozen=True):
    """How one kind of interval did.

    `tiers` is the coverage by fifths of the cells, from those with the smallest past to those with the largest; `passes` says
    whether the promise was kept.
    """

    part: str
    seed: int | None
    model: str
    interval: str
    cells: int
    covered: float
    width: float
    tiers: tuple[float, ...]
    passes: bool


class Table(msgspec.Struct, frozen=True):
    """Counts of n rows by cell and day, with the past counts of the cell before the day, as a spreadsheet has them."""

    keys: NDArray[np.str_]
    day: NDArray[np.int64]
    trials: Floats
    past_trials: Floats
    past_events: Floats
    past_rates: Pair

    @classmethod
    def of(cls, keys: NDArray[np.str_], day: NDArray[np.int64], trials: Floats, events: Floats) -> Table:
        """Sum up what came on earlier days."""
        _, cell = np.unique(keys, return_inverse=True)
        by_day = np.zeros((2, cell.max() + 1, int(day.max()) + 2))
        np.add.at(by_day[0], (cell, day + 1), trials)
        np.add.at(by_day[1], (cell, day + 1), events)
        before = by_day.cumsum(axis=2)
        came = by_day[:, cell, day + 1]
        return cls(keys, day, came[0], before[0, cell, day], before[1, cell, day], _past_rates(by_day, cell, day))

    def predictive(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> dict[str, Pair]:
        """Bounds of the rates to come of the given rows, from past counts or from past days."""
        m, n, c = np.rint(self.trials[rows]), self.past_trials[rows], self.past_events[rows]
        a, b = c + 0.5, np.maximum(n - c, 0.0) + 0.5
        low, high = (betabinom.ppf(tail, m, a, b) / m for tail in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return {
            "Jeffreys predictive": (np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)),
            "own past days": (self.past_rates[0][rows], self.past_rates[1][rows]),
        }


def _past_rates(by_day: Floats, cell: NDArray[np.intp], day: NDArray[np.int64]) -> Pair:
    """Quantiles of the rates of the cell's days before the day; anything where there were fewer than two."""
    rates = np.full(by_day.shape[1:], np.nan)
    np.divide(by_day[1], by_day[0], out=rates, where=by_day[0] > 0)
    low, high = np.zeros(len(cell)), np.ones(len(cell))
    for today in np.unique(day).tolist():
        rows = np.flatnonzero(day == today)
        past = rates[cell[rows], : today + 1]
        known = np.sum(np.isfinite(past), axis=1) >= 2
        if known.any():
            tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
            low[rows[known]], high[rows[known]] = np.nanquantile(past[known], tails, axis=1)
    return low, high


def peers(p: Floats, trials: Floats, events: Floats) -> dict[str, Pair]:
    """Bounds from past counts, and those that say nothing."""
    seen, n = trials > 0, np.maximum(trials, 1.0)
    rate = np.clip(events / n, 0.0, 1.0)
    wald = Z * np.sqrt(rate * (1 - rate) / n)
    centre, reach = (rate + Z**2 / (2 * n)) / (1 + Z**2 / n), Z / (1 + Z**2 / n)
    wilson = reach * np.sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2))
    a, b = rate * n + 0.5, (1 - rate) * n + 0.5
    bounds = {
        "Wald": (rate - wald, rate + wald),
        "Wilson": (centre - wilson, centre + wilson),
        "Jeffreys": (betaincinv(a, b, (1 - LEVEL) / 2), betaincinv(a, b, (1 + LEVEL) / 2)),
    }
    known = {
        name: (np.where(seen, np.clip(low, 0, 1), 0.0), np.where(seen, np.clip(high, 0, 1), 1.0))
        for name, (low, high) in bounds.items()
    }
    return known | {"± 0.95": (np.clip(p - 0.95, 0, 1), np.clip(p + 0.95, 0, 1))}


def judge(part: str, seed: int, model: str, bounds: dict[str, Pair], rate: Floats, support: Floats) -> list[Row]:
    """One row for each kind of interval of the same n cells."""
    tier = np.digitize(support, np.quantile(support, [0.2, 0.4, 0.6, 0.8]))
    rows = []
    for name, (low, high) in bounds.items():
        inside = (rate >= low * (1 - 1e-9)) & (rate <= high * (1 + 1e-9))
        tiers = tuple(float(np.mean(inside[tier == i])) for i in range(5) if (tier == i).any())
        covered = float(np.mean(inside))
        width = float(np.mean(high - low))
        rows.append(Row(part, seed, model, name, len(rate), covered, width, tiers, kept(covered, tiers)))
    return rows


def together(rows: Sequence[Row]) -> list[Row]:
    """All markets as one: a single market's coverage moves with the luck of what its intervals were learned from."""
    pooled = []
    for part, interval in dict.fromkeys((row.part, row.interval) for row in rows):
        same = [row for row in rows if (row.part, row.interval) == (part, interval)]
        cells = np.array([row.cells for row in same], dtype=float)
        covered, width = (
            float(np.average([getattr(row, name) for row in same], weights=cells)) for name in ("covered", "width")
        )
        tiers = tuple(np.average([row.tiers for row in same], axis=0, weights=cells).tolist())
        pooled.append(Row(part, None, "", interval, int(cells.sum()), covered, width, tiers, kept(covered, tiers)))
    return pooled


def kept(covered: float, tiers: Sequence[float]) -> bool:
    """Whether the promise was kept, overall and in the sparsest tier."""
    return 0.93 <= covered <= 0.97 and 0.9 <= tiers[0] <= 0.99


def calibrated(trial: Trial, validation: Examples, judged: Examples, head: int) -> Pair:
    """Rates of the trial on the validation rows, and of the final model on the judged ones, calibrated as in service."""
    early, final = (
        Scorer(model.onnx, model.encoding).logits(rows.features)[:, head].astype(np.float64)
        for model, rows in ((trial.early, validation), (trial.final, judged))
    )
    events, trials = heads(validation, head)
    some = trials > 0
    fitted = fit_calibration(early[some], events[some], trials[some], validation.weight[some])
    return expit(fitted.apply(early)), expit(fitted.apply(final))


def heads(examples: Examples, head: int) -> Pair:
    """Events and trials of clicks (0) or conversions (1)."""
    if head == 0:
        return examples.clicks, examples.impressions
    return np.minimum(examples.conversions, examples.clicks), examples.clicks


def best_trial(fit: Examples, validation: Examples, judged: Examples, kinds: Sequence[str], seed: int) -> Trial:
    """The kind that predicts clicks best on the judged days, as a renewal promotes it."""

    def loss(trial: Trial) -> float:
        p = calibrated(trial, validation, judged, 0)[1]
        return log_loss(p, judged.impressions, judged.clicks, judged.weight)

    return min(fit_trials(fit, validation, seed=seed, kinds=kinds), key=loss)


def labelled(view: FeatureView, opportunities: list[Opportunity], counts: tuple[Floats, Floats, Floats]) -> Examples:
    """A report's rows, one for each cell and day, with features as of the beginning of the day; a day is known at its end."""
    at = np.array([about.at.replace(tzinfo=None) for about in opportunities], dtype="datetime64[us]")
    none = np.zeros(len(at))
    facts = Observations((at + DAY - MICROSECOND).astype("datetime64[us]"), opportunities, *counts, none, none)
    return Examples(point_in_time(view, facts, opportunities), at, *counts, none, np.ones(len(at)))


def market(seed: int, kinds: Sequence[str], auctions: int = AUCTIONS) -> list[Row]:
    """The simulated market: credible intervals against true rates."""
    opportunities, day, counts, truth = past(World(WorldSettings(seed=seed, auctions_per_day=auctions)), seed)
    view = campaign_view()
    rows = labelled(view, opportunities, counts)
    keys = cell_keys(view, opportunities).astype(str)
    parts = [day < FIT_DAYS, (day >= FIT_DAYS) & (day < DAYS - WEEK), day >= DAYS - WEEK]
    fit, validation, judged = (rows.take(part) for part in parts)
    trial = best_trial(fit, validation, judged, kinds, seed)
    impressions = np.nan_to_num(rows.features.numeric["cell_impressions"])
    support = [impressions[part] for part in parts]
    found = []
    for head, name in enumerate(("true CTR", "true conversion rate")):
        p, later = calibrated(trial, validation, judged, head)
        if head == 1:  # the past clicks behind a conversion rate are those expected, as in service
            clicks = calibrated(trial, validation, judged, 0)
            support = [support[0], support[1] * clicks[0], support[2] * clicks[1]]
        events, trials = heads(validation, head)
        some = trials > 0
        model = fit_intervals(p[some], trials[some], events[some], support[1][some], LEVEL, single=True)
        assert model.spread is not None
        table = Table.of(keys, day, *reversed(heads(rows, head)))
        bounds = {"ours": model.spread.bounds(later, support[2], level=LEVEL)}
        bounds |= peers(later, table.past_trials[parts[2]], table.past_events[parts[2]])
        found += judge(name, seed, trial.final.name, bounds, truth[head][parts[2]], support[2])
    return found


def past(
    world: World, seed: int
) -> tuple[list[Opportunity], NDArray[np.int64], tuple[Floats, Floats, Floats], tuple[Floats, Floats]]:
    """What a report of the account tells of each cell and day, from flat bids with jitter, and what is true of them.

    Returns opportunities, number of the day, counts of impressions, clicks and conversions, and the mean true click rate of
    these impressions and conversion rate of their clicks.
    """
    names, settings = world.names, world.settings
    flat = np.array([world.current_bids()[name].micros for name in names.campaigns])
    rng = np.random.default_rng(seed)
    shape = (len(names.campaigns), settings.keywords, len(names.devices), len(names.locations))
    opportunities, days, counts, truth = list[Opportunity](), [], [], []
    for day in range(DAYS):
        told = world.day(day)
        cells = told.cells
        won = flat[cells.campaign] * np.exp(rng.normal(0, JITTER, len(told))) >= told.potential.price
        where = np.ravel_multi_index((cells.campaign, cells.keyword, cells.device, cells.location), shape)[won]
        columns = (
            np.ones(len(told)), told.potential.click, told.potential.conversion, told.ctr, told.ctr * told.conversion_rate,
        )  # fmt: skip
        sums = np.stack([np.bincount(where, column[won], minlength=int(np.prod(shape))) for column in columns])
        seen = np.flatnonzero(sums[0])
        counts.append(sums[:3, seen])
        truth.append(np.stack([sums[3, seen] / sums[0, seen], sums[4, seen] / sums[3, seen]]))
        days.append(np.full(len(seen), day))
        opportunities += [
            Opportunity(
                opportunity_id=f"{day}-{number}",
                at=world.start(day),
                campaign_id=names.campaigns[campaign],
                ad_group_id=names.ad_groups[campaign][names.ad_group_of[keyword]],
                keyword=names.keywords[campaign][keyword],
                device=names.devices[device],
                location=names.locations[location],
            )
            for number, campaign, keyword, device, location in zip(
                seen.tolist(), *(axis.tolist() for axis in np.unravel_index(seen, shape)), strict=True
            )
        ]
    shown, clicked, converted = np.concatenate(counts, axis=1)
    true_ctr, true_conversion_rate = np.concatenate(truth, axis=1)
    return opportunities, np.concatenate(days), (shown, clicked, converted), (true_ctr, true_conversion_rate)


def ipinyou(folder: Path, kinds: Sequence[str], seed: int) -> list[Row]:
    """iPinYou: prediction intervals against the observed click rates of campaign × slot on a day."""
    log = ctr.read(folder, timedelta(minutes=3))
    every = (log.train, log.validation, log.test)
    named = [slots(rows) for rows in every]
    table = Table.of(
        np.concatenate([cell for cell, _ in named]),
        np.concatenate([day for _, day in named]),
        np.concatenate([rows.weight * rows.impressions for rows in every]),
        np.concatenate([rows.weight * rows.clicks for rows in every]),
    )
    trial = best_trial(*every, kinds, seed)
    rates = calibrated(trial, log.validation, log.test, 0)
    cells, keys = [], []
    for rows, p, (cell, day) in zip(every[1:], rates, named[1:], strict=True):
        key = np.char.add(np.char.add(cell, "|"), day.astype(str))
        counted = counted_well(key, rows.impressions, rows.weight)
        part, key = rows.take(counted), key[counted]
        support = part.features.numeric["cell_impressions"]
        cells.append(group_cells(key, p[counted], part.impressions, part.clicks, support, part.weight))
        keys.append(np.unique(key))
    known, later = cells
    model = fit_intervals(known.p, known.impressions, known.clicks, known.support, LEVEL, design=known.design)
    told = np.char.add(np.char.add(table.keys, "|"), table.day.astype(str))
    first = {key: i for i, key in enumerate(told.tolist())}
    row = np.array([first[key] for key in keys[1].tolist()])
    bounds = {"ours": model.bounds(later.p, later.support)}
    bounds |= peers(later.p, table.past_trials[row], table.past_events[row]) | table.predictive(row)
    rate = later.clicks / later.impressions
    return judge("iPinYou, observed CTR", seed, trial.final.name, bounds, rate, later.support)


def slots(examples: Examples) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Campaign and slot of each row, and the number of its day in China."""
    table = examples.features.categorical
    cell = np.char.add(np.char.add(table["campaign_id"].astype(str), "|"), table["slot"].astype(str))
    china = (examples.at + np.timedelta64(8, "h")).astype("datetime64[D]")
    return cell, (china - np.datetime64("2013-06-06")).astype(np.int64)


def report(path: Path, kinds: Sequence[str], seed: int, first: int = REPORT_FROM) -> list[Row]:
    """The campaign report: prediction intervals against the observed click rates of the coming day, from day `first` on."""
    told = {
        event.row_id: event
        for event in read_report(path, display_campaign_report(year=2020))
        if isinstance(event, CampaignReported) and event.impressions > 0
    }
    events = sorted(told.values(), key=lambda event: event.at)
    columns = ("impressions", "clicks", "conversions")
    shown, clicked, converted = (np.array([getattr(event, name) for event in events], dtype=float) for name in columns)
    view = display_view(BANNER, cell=BANNER, half_life_days=3.0)
    opportunities = [event.opportunity for event in events]
    rows = labelled(view, opportunities, (shown, clicked, converted))
    keys = cell_keys(view, opportunities).astype(str)
    day = ((rows.at - rows.at.min()) / DAY).astype(np.int64)
    p, winners = weekly(rows, day, kinds, seed, first)
    support = np.nan_to_num(rows.features.numeric["cell_impressions"])
    low, high = np.zeros(len(rows)), np.zeros(len(rows))
    for today in range(first, int(day.max()) + 1):
        before, now = (day >= today - LEARNED_DAYS) & (day < today), day == today
        model = fit_intervals(p[before], shown[before], clicked[before], support[before], LEVEL)
        low[now], high[now] = model.bounds(p[now], support[now])
    table = Table.of(keys, day, shown, clicked)
    judged = day >= first
    bounds = {"ours": (low[judged], high[judged])} | table.predictive(judged)
    bounds |= peers(p[judged], table.past_trials[judged], table.past_events[judged])
    name = max(sorted(set(winners)), key=winners.count)
    return judge("report, observed CTR", seed, name, bounds, (clicked / shown)[judged], support[judged])


BANNER = ["engagement", "banner", "placement"]


def weekly(
    rows: Examples, day: NDArray[np.int64], kinds: Sequence[str], seed: int, first: int
) -> tuple[Floats, list[str]]:
    """Each row's click rate from a model of the days before its week, and the kinds that were chosen on validation days.

    A week's kind is the one that did best in the week before, since nothing is known of its own days yet.
    """
    p, chosen, kind = np.full(len(rows), np.nan), list[str](), kinds[0]
    for start in range(first - LEARNED_DAYS, int(day.max()) + 1, WEEK):
        week = (day >= start) & (day < start + WEEK)
        fit = rows.take(day < start - VALIDATED_DAYS)
        validation, coming = rows.take((day >= start - VALIDATED_DAYS) & (day < start)), rows.take(week)
        rates = {
            trial.final.name: calibrated(trial, validation, coming, 0)[1]
            for trial in fit_trials(fit, validation, seed=seed, kinds=kinds)
        }
        p[week] = rates[kind]
        chosen.append(kind)
        kind = min(rates, key=lambda name: log_loss(rates[name], coming.impressions, coming.clicks, coming.weight))
    return p, chosen


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("market", "ipinyou", "report"), help="one of the three; all by default")
    parser.add_argument("--seeds", default="21,22,23,24,25", help="of the simulated markets, with commas")
    parser.add_argument("--auctions", type=int, default=AUCTIONS, help="of a day of the simulated market")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of models to choose the best of, with commas")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    kinds, seeds = arguments.kinds.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    root = Path(os.environ.get("BIDLOOP_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    rows = list[Row]()
    if arguments.part in (None, "market"):
        for seed in seeds:
            rows += market(seed, kinds, arguments.auctions)
        rows += together(rows)
    if arguments.part in (None, "ipinyou"):
        rows += ipinyou(root / "ipinyou_season2", kinds, seeds[0])
    if arguments.part in (None, "report"):
        log = root / "display_campaign_report" / "online_advertising_performance_data.csv.gz"
        rows += report(log, kinds, seeds[0])
    if arguments.json:
        print(json.dumps({"rows": msgspec.to_builtins(rows)}))
        return
    print(
        f"{'part':<22} {'seed':>4} {'model':<9} {'interval':<19} {'cells':>6} covered  mean width  by fifths of the past  passes"
    )
    for row in rows:
        tiers = " ".join(f"{tier:.3f}" for tier in row.tiers)
        print(
            f"{row.part:<22} {row.seed or 'all':>4} {row.model:<9} {row.interval:<19} {row.cells:>6}  {row.covered:.3f}  "
            f"{row.width:10.5f}  {tiers}  {'yes' if row.passes else 'no'}"
        )


if __name__ == "__main__":
    main()
