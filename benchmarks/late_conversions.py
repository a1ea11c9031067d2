"""Conversions that arrive late: how far off the conversion rate of the last seven days is, by way of counting them.

``python -m benchmarks.late_conversions [--json] [--seeds N] [--auctions N] [--worlds ...]``

A simulated market runs for thirty days; clicks are known after seconds, conversions days later. At the end of the last day
models learn from the last fourteen days, as they are known by then, and say how many conversions the clicks of the last seven
days bring. What they bring in truth is known here. All impressions are won, so that nothing but the delay stands between.

Worlds: an exponential delay of five days on average (the world's own); the same with a conversion rate whose odds rise
by 65 % on the seventeenth day; campaigns with means from 1.5 to 10 days; a Weibull of shape 0.6, with many early and many
very late; two bumps, most within hours and the rest after a week. Ways of counting:

* naive: what is not reported is taken for no conversion;
* waiting: only clicks of at least ten days of age, of all thirty days;
* discounted trials, with the delay fitted as an exponential, as a Weibull, by buckets, or as chosen (what Bidloop does);
* delay buckets: only conversions within the whole days that are over, discounted by their share (Badanidiyuru et al., arXiv
  2101.02284, with one model for all buckets);
* importance: each conversion weighs 1 / maturity (Horvitz-Thompson);
* true delay: discounted trials with the delay that the world has; in hindsight: all conversions, also those to come. Nobody has
  these two; they show what is noise and not delay.

The peer is the first line. Printed are the mean error of the number of conversions over the seeds, its root mean square and its
largest, for the logistic regression and for the trees. A second table: the error of the mean delay of a campaign. A third, to tell
the ways of counting apart for which a few markets are not enough: the same for one rate and no model, of many draws of 60,000
clicks (`--draws`).

A fourth: the same from reports. A report of daily rows is pulled every day for forty-five days, with the last thirty days in it,
and goes through the event log into the history as any other does: a row that says what it said before is no news and is dropped.
Rows have 20 conversions on average, or 1, or 0.2, so that most pulls of a row tell nothing new. Conversions take two days on
average, or nine of ten come within hours and the rest takes five days. Printed are the error of the maturity at one and
at three days, and of the conversion rate of the last seven days against that of the same clicks in the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bidloop.adapters.parquet.history import ParquetHistory
from bidloop.adapters.sql.database import open_database
from bidloop.adapters.sql.decision_log import SqlDecisionLog
from bidloop.adapters.sql.event_log import SqlEventLog
from bidloop.core.event import CampaignReported
from bidloop.core.examples import Examples
from bidloop.core.feature_table import FeatureTable
from bidloop.core.money import Money
from bidloop.core.opportunity import Opportunity
from bidloop.core.outcome import ConversionDelays
from bidloop.events.restatement import Restatement
from bidloop.events.sealing import Seal
from bidloop.models.candidate import Candidate
from bidloop.models.encoding import fit_encoding
from bidloop.models.logistic import fit_logistic
from bidloop.models.rows import Response, Rows
from bidloop.models.trees import fit_trees
from bidloop.outcomes.delay import DAY, DelayModel, Kind
from bidloop.outcomes.delay_fit import fit_delay_model
from bidloop.outcomes.maturity import matured
from bidloop.simulation.settings import Drift
from bidloop.simulation.world import DayTruth, World, WorldSettings

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, NDArray[np.intp]], Floats]

DAYS, LEARNED, JUDGED, WAITED = 30, 14, 7, 10.0
WINDOW = 30.0
CTR, CONVERSION_RATE = 0.2, 0.2
UNCLICKED = 500
"""Impressions without a click that are kept: models want to see some, conversions are not learned from them."""
TREES = 80
KINDS: tuple[Kind | None, ...] = ("exponential", "weibull", "buckets", None)
MEANS = np.array([1.5, 3.0, 5.0, 7.0, 10.0])
"""Days, of the five campaigns."""
WORLDS: dict[str, Draw | None] = {
    "exponential": None,
    "rising": None,
    "by campaign": lambda rng, campaign: rng.exponential(MEANS[campaign]),
    "weibull": lambda rng, campaign: 4.0 * rng.weibull(0.6, len(campaign)),
    "two bumps": lambda rng, campaign: np.where(
        rng.random(len(campaign)) < 0.6, rng.exponential(0.3, len(campaign)), np.abs(rng.normal(7, 1.0, len(campaign)))
    ),
}


PULLED_DAYS = 45
REPORTED: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "two days": lambda rng, n: rng.exponential(2.0, n),
    "most at once": lambda rng, n: np.where(rng.random(n) < 0.9, rng.exponential(0.05, n), rng.exponential(5.0, n)),
}
"""Days from click to conversion."""
ROWS = {20.0: 20, 1.0: 20, 0.2: 100}
"""By conversions of a row: how many rows a day."""


class Error(msgspec.Struct, frozen=True):
    """By how much the predicted number of conversions is off, over the seeds; -0.3 is 30 % too low."""

    world: str
    method: str
    model: str
    mean: float
    root_mean_square: float
    largest: float


class DelayError(msgspec.Struct, frozen=True):
    """Root mean square of the relative error of a campaign's mean delay, over campaigns and seeds."""

    world: str
    method: str
    root_mean_square: float
    mean: float


class LevelError(msgspec.Struct, frozen=True):
    """By how much one rate for all is off, over the draws."""

    method: str
    mean: float
    deviation: float


class ReportError(msgspec.Struct, frozen=True):
    """From a report that is pulled every day: off by how much, over the seeds.

    `one_day` and `three_days` are mean errors of the maturity of rows so old, in shares of 1; `mean` and `root_mean_square` those
    of the conversion rate of the last seven days, relative, and `naive` the mean of the rate that counts what is reported.
    """

    delays: str
    per_row: float
    one_day: float
    three_days: float
    mean: float
    root_mean_square: float
    naive: float


@dataclass(frozen=True)
class Log:
    """The clicks of all days, and some impressions without.

    Parameters
    ----------
    rows
        With the conversions that are known by the end.
    campaign
        Number of each row's campaign.
    age, delay
        Seconds from click to the end, and from click to conversion; infinite where there is none.
    rate
        True P(conversion | click), within the window.
    """

    rows: Examples
    campaign: NDArray[np.intp]
    age: Floats
    delay: Floats
    rate: Floats

    @property
    def names(self) -> NDArray[np.object_]:
        """The campaign of each row."""
        return self.rows.features.categorical["campaign_id"]

    def take(self, rows: NDArray[np.bool_]) -> Log:
        """The given rows."""
        return Log(self.rows.take(rows), self.campaign[rows], self.age[rows], self.delay[rows], self.rate[rows])

    def delays(self) -> ConversionDelays:
        """As the history tells them."""
        known = self.delay <= self.age
        delay = self.delay[known]
        return ConversionDelays(
            self.names[known], self.rows.at[known], delay, delay, self.age[known], np.ones(len(delay))
        )


def simulate(world: str, seed: int, auctions: int) -> Log:
    """Run a market, and end it while conversions are underway."""
    drifts = (Drift(day=DAYS - LEARNED, conversion_rate_shift=0.5),) if world == "rising" else ()
    settings = WorldSettings(
        seed=seed, auctions_per_day=auctions, ctr=CTR, conversion_rate=CONVERSION_RATE, conversion_delay_hours=120.0,
        drifts=drifts,
    )  # fmt: skip
    market, draw = World(settings), WORLDS[world]
    rng = np.random.default_rng(seed)
    days = [market.day(day) for day in range(DAYS)]

    def column(of: Callable[[DayTruth], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([of(day) for day in days])

    click, campaign = column(lambda day: day.potential.click), column(lambda day: day.cells.campaign)
    click_at = column(lambda day: day.potential.click_at)
    delay = (column(lambda day: day.potential.conversion_at) - click_at) / np.timedelta64(1, "s")
    in_window = np.full(len(MEANS), -np.expm1(-WINDOW / 5.0))
    if draw is not None:
        delay = DAY * draw(rng, campaign)
        many = np.repeat(np.arange(len(MEANS)), 100_000)
        in_window = np.mean(draw(rng, many).reshape(len(MEANS), -1) <= WINDOW, axis=1)
    delay = np.where(column(lambda day: day.potential.conversion) & (delay <= WINDOW * DAY), delay, np.inf)
    end = np.datetime64(market.start(DAYS).replace(tzinfo=None), "us")
    age = -(click_at - end) / np.timedelta64(1, "s")
    kept = click.copy()
    kept[rng.choice(np.flatnonzero(~click), UNCLICKED, replace=False)] = True
    kept &= age > 0
    hour = column(lambda day: day.cells.hour)[kept] * (2 * np.pi / 24)
    names = {
        "campaign_id": np.array(settings.campaigns, dtype=object)[campaign],
        "keyword": column(lambda day: day.cells.keyword) + 1000 * campaign,
        "device": np.array(settings.devices, dtype=object)[column(lambda day: day.cells.device)],
        "location": np.array(settings.locations, dtype=object)[column(lambda day: day.cells.location)],
    }
    table = FeatureTable(
        "late", {"hour_sin": np.sin(hour), "hour_cos": np.cos(hour)},
        {name: values[kept].astype(str).astype(object) for name, values in names.items()},
    )  # fmt: skip
    clicks, one = click[kept].astype(float), np.ones(int(kept.sum()))
    known = (delay <= age)[kept].astype(float) * clicks
    rows = Examples(table, column(lambda day: day.cells.at)[kept], one, clicks, known, 0 * one, one)
    rate = column(lambda day: day.conversion_rate) * in_window[campaign]
    return Log(rows, campaign[kept], age[kept], np.where(click, delay, np.inf)[kept], rate[kept])


def methods(log: Log, world: str, models: dict[str, DelayModel]) -> dict[str, tuple[Log, Floats | None, Floats | None]]:
    """By way of counting: the rows to learn from, their maturity, and their conversions where not those that are known."""
    recent = log.take(log.age <= LEARNED * DAY)
    maturity = {name: model.maturity(recent.names, recent.age) for name, model in models.items()}
    whole_days = np.floor(recent.age / DAY) * DAY
    within = models["as chosen"].maturity(recent.names, whole_days)
    known = recent.rows.conversions
    return {
        "naive": (recent, None, None),
        "naive, 30 days": (log, None, None),
        "waiting": (log.take(log.age >= WAITED * DAY), None, None),
        **{f"trials, {name}": (recent, of, None) for name, of in maturity.items()},
        "delay buckets": (recent, within, (recent.delay <= whole_days).astype(float)),
        "importance": (recent, None, known / maturity["as chosen"]),
        "true delay": (recent, true_maturity(world, recent), None),
        "in hindsight": (recent, None, np.isfinite(recent.delay).astype(float)),
    }


def true_maturity(world: str, log: Log) -> Floats:
    """Of the delays that the world has, by counting very many."""
    draw = WORLDS[world] or (lambda rng, campaign: rng.exponential(5.0, len(campaign)))
    share = np.zeros(len(log.age))
    for campaign in range(len(MEANS)):
        drawn = np.sort(draw(np.random.default_rng(campaign), np.full(400_000, campaign)))
        drawn = drawn[drawn <= WINDOW] * DAY
        rows = log.campaign == campaign
        share[rows] = np.searchsorted(drawn, log.age[rows]) / len(drawn)
    return np.maximum(share, 1e-6)


def predicted(
    log: Log, maturity: Floats | None, conversions: Floats | None, judged: Examples, seed: int
) -> dict[str, float]:
    """How many conversions of the judged clicks each model expects."""
    examples = replace(log.rows, maturity=maturity)
    encoding = fit_encoding(examples)
    rows = Rows.of(examples, encoding)
    if conversions is not None:
        # Conversions that are weighted up may be more than the clicks: not to be cut to them.
        trials = examples.clicks if maturity is None else examples.clicks * maturity
        rows = replace(rows, conversion=Response(conversions, trials - conversions, 0.0))
    inputs = encoding.apply(judged.features)
    fitted: dict[str, Candidate] = {
        "logistic": fit_logistic(rows),
        "trees": fit_trees(rows, seed=seed, rounds=(1, TREES)),
    }
    return {name: float(expit(model.logits(*inputs)[:, 1]).sum()) for name, model in fitted.items()}


def run(
    worlds: list[str], seeds: int, auctions: int, progress: Callable[[str], None] = lambda doing: None
) -> tuple[list[Error], list[DelayError], dict[str, dict[str, int]]]:
    """Both tables, and how often which shape of the delay was chosen."""
    errors: list[Error] = []
    delay_errors: list[DelayError] = []
    chosen: dict[str, dict[str, int]] = {}
    for world in worlds:
        off: dict[tuple[str, str], list[float]] = {}
        late: dict[str, list[float]] = {}
        for seed in range(seeds):
            progress(f"{world}, {seed + 1} of {seeds}")
            log = simulate(world, seed, auctions)
            delays = log.delays()
            models: dict[str, DelayModel] = {}
            for kind in KINDS:
                model = fit_delay_model(delays, window_days=WINDOW, kind=kind)
                assert model is not None
                models[kind or "as chosen"] = model
            shapes = chosen.setdefault(world, {})
            shape = models["as chosen"].kind
            shapes[shape] = shapes.get(shape, 0) + 1
            for name, error in mean_delay_errors(log, delays, world, models).items():
                late.setdefault(name, []).extend(error)
            judged = log.take((log.age <= JUDGED * DAY) & (log.rows.clicks > 0))
            for method, (rows, maturity, conversions) in methods(log, world, models).items():
                for model_name, total in predicted(rows, maturity, conversions, judged.rows, seed).items():
                    off.setdefault((method, model_name), []).append(total / float(judged.rate.sum()) - 1)
        for (method, model_name), values in off.items():
            values_ = np.array(values)
            largest = float(values_[np.argmax(np.abs(values_))])
            errors.append(Error(world, method, model_name, float(values_.mean()), _rms(values_), largest))
        delay_errors += [
            DelayError(world, name, _rms(np.array(values)), float(np.mean(values))) for name, values in late.items()
        ]
    return errors, delay_errors, chosen


def levels(draws: int, clicks: int = 60_000) -> list[LevelError]:
    """One conversion rate for all clicks of the last fourteen days, by way of counting, with an exponential delay of five days."""
    off: dict[str, list[float]] = {}
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        age, delay = rng.uniform(0, DAYS, clicks), rng.exponential(5.0, clicks)
        delay[(rng.random(clicks) >= CONVERSION_RATE) | (delay > WINDOW)] = np.inf
        known = delay <= age
        at, name = np.zeros(known.sum(), dtype="datetime64[us]"), np.full(known.sum(), "all", dtype=object)
        took, one = delay[known] * DAY, np.ones(known.sum())
        delays = ConversionDelays(name, at, took, took, age[known] * DAY, one)
        model = fit_delay_model(delays, window_days=WINDOW, kind="exponential")
        assert model is not None
        recent = age <= LEARNED
        age, delay, known = age[recent], delay[recent], known[recent]
        names, day = ["all"] * len(age), np.floor(age)
        maturity, by_day = model.maturity(names, age * DAY), model.maturity(names, day * DAY)
        truly = np.expm1(-age / 5.0) / np.expm1(-WINDOW / 5.0)
        rates = {
            "naive": known.mean(),
            "trials": known.sum() / maturity.sum(),
            "delay buckets": np.sum(delay <= day) / by_day.sum(),
            "importance": np.mean(known / maturity),
            "true delay": known.sum() / truly.sum(),
        }
        for method, rate in rates.items():
            off.setdefault(method, []).append(float(rate) / (CONVERSION_RATE * -np.expm1(-WINDOW / 5.0)) - 1)
    return [LevelError(method, float(np.mean(values)), float(np.std(values))) for method, values in off.items()]


def reports(seeds: int, progress: Callable[[str], None] = lambda doing: None) -> list[ReportError]:
    """The maturity, and the rate of the last seven days, as learned from a report that is pulled every day."""
    found = []
    for delays, draw in REPORTED.items():
        for per_row, cells in ROWS.items():
            off = []
            for seed in range(seeds):
                progress(f"report, {delays}, {per_row:g} a row, {seed + 1} of {seeds}")
                off.append(report_error(draw, per_row, cells, seed))
            errors = np.array(off)
            one, three, rate, naive = errors.mean(axis=0).tolist()
            found.append(ReportError(delays, per_row, one, three, rate, _rms(errors[:, 2]), naive))
    return found


def report_error(
    draw: Callable[[np.random.Generator, int], Floats], per_row: float, cells: int, seed: int
) -> tuple[float, float, float, float]:
    """Errors of the maturity at one and three days, and of the rate of the last seven days: counted on, and naive."""
    rng = np.random.default_rng(seed)
    taken: dict[str, tuple[int, Floats]] = {}
    for day, cell in np.ndindex(PULLED_DAYS, cells):
        n = rng.poisson(per_row)
        # From the start of the row: clicks come all through its day.
        taken[f"{day}/{cell}"] = day, rng.random(n) + draw(rng, n)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    end = start + timedelta(days=PULLED_DAYS)
    with tempfile.TemporaryDirectory() as folder:
        engine = open_database(Path(folder) / "log.db")
        log = SqlEventLog(engine, Seal(bytes(32)))
        history = ParquetHistory(Path(folder) / "history", log, SqlDecisionLog(engine))
        for today in range(1, PULLED_DAYS + 1):
            told = [
                _row(name, start + timedelta(days=day), float(np.sum(took <= today - day)), today - day)
                for name, (day, took) in taken.items()
                if 1 <= today - day <= WINDOW
            ]
            news = Restatement(log.digests).resolve(told)
            log.append([row for row in news if isinstance(row, CampaignReported)])
        history.sync()
        model = fit_delay_model(history.delays(end), window_days=WINDOW)
        assert model is not None
        outcomes = history.outcomes(end - timedelta(days=JUDGED), as_of=end)
        engine.dispose()
    maturity = matured(outcomes, model, end)
    assert maturity is not None
    conversions = sum(np.sum(taken[name][1] <= WINDOW) for name in outcomes.impression_id)
    truth = conversions / outcomes.clicks.sum()
    took = np.concatenate([took for _, took in taken.values()])
    one, three = model.maturity(["spring"] * 2, [DAY, 3 * DAY]) - [
        np.mean(took[took <= WINDOW] <= age) for age in (1, 3)
    ]
    reported = outcomes.conversions.sum()
    rate, naive = reported / np.sum(outcomes.clicks * maturity), reported / outcomes.clicks.sum()
    return float(one), float(three), float(rate / truth - 1), float(naive / truth - 1)


def _row(name: str, at: datetime, conversions: float, age: int) -> CampaignReported:
    about = Opportunity(opportunity_id=name, at=at, campaign_id="spring")
    return CampaignReported(
        event_id=name, row_id=name, at=at, opportunity=about, impressions=1000, clicks=50, conversions=conversions,
        spend=Money.of(5, "USD"), known_at=at + timedelta(days=age),
    )  # fmt: skip


def mean_delay_errors(
    log: Log, delays: ConversionDelays, world: str, models: dict[str, DelayModel]
) -> dict[str, list[float]]:
    """Relative errors of each campaign's mean delay within the window, by model; and those of the plain average."""
    draw = WORLDS[world] or (lambda rng, campaign: rng.exponential(5.0, len(campaign)))
    found: dict[str, list[float]] = {name: [] for name in ("plain average", *models)}
    for campaign in range(len(MEANS)):
        drawn = draw(np.random.default_rng(campaign), np.full(400_000, campaign))
        truth = float(drawn[drawn <= WINDOW].mean())
        name = str(log.names[log.campaign == campaign][0])
        plain = float(delays.latest[delays.campaign == name].mean())
        found["plain average"].append(plain / DAY / truth - 1)
        for label, model in models.items():
            found[label].append(model.mean_delay(name) / DAY / truth - 1)
    return found


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6, help="markets of each kind")
    parser.add_argument("--auctions", type=int, default=10_000, help="a day")
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--draws", type=int, default=150, help="for the table of one rate")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    def progress(doing: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{doing:<40}", end="", file=sys.stderr, flush=True)

    errors, delay_errors, chosen = run(arguments.worlds, arguments.seeds, arguments.auctions, progress)
    one_rate = levels(arguments.draws)
    from_reports = reports(arguments.seeds, progress)
    if arguments.json:
        tables = {
            "conversions": errors,
            "mean_delay": delay_errors,
            "chosen": chosen,
            "one_rate": one_rate,
            "reports": from_reports,
        }
        print(json.dumps(msgspec.to_builtins(tables)))
        return
    by_name = {(error.world, error.method, error.model): error for error in errors}
    spread = f"{'rms':>6} {'largest':>8}"
    print(f"{'world':<12} {'counting':<20} {'logistic: mean':>14} {spread}  {'trees: mean':>11} {spread}")
    for world, method in dict.fromkeys((error.world, error.method) for error in errors):
        a, b = (by_name[world, method, name] for name in ("logistic", "trees"))
        print(
            f"{world:<12} {method:<20} {a.mean:>+14.1%} {a.root_mean_square:>6.1%} {a.largest:>+8.1%}"
            f"  {b.mean:>+11.1%} {b.root_mean_square:>6.1%} {b.largest:>+8.1%}"
        )
    print(f"\n{'world':<12} {'mean delay by':<14} {'mean error':>10} {'rms':>6}   shape chosen")
    for row in delay_errors:
        shapes = ", ".join(f"{kind} {count}x" for kind, count in chosen[row.world].items())
        told = shapes if row.method == "as chosen" else ""
        print(f"{row.world:<12} {row.method:<14} {row.mean:>+10.1%} {row.root_mean_square:>6.1%}   {told}")
    print(f"\n{'one rate by':<14} {'mean error':>10} {'deviation':>10}")
    for level in one_rate:
        print(f"{level.method:<14} {level.mean:>+10.2%} {level.deviation:>10.2%}")
    print(f"\n{'report':<14} {'a row':>6} {'F(1 day)':>9} {'F(3 days)':>9} {'rate: mean':>11} {'rms':>6} {'naive':>7}")
    for pulled in from_reports:
        print(
            f"{pulled.delays:<14} {pulled.per_row:>6g} {pulled.one_day:>+9.3f} {pulled.three_days:>+9.3f} {pulled.mean:>+11.1%}"
            f" {pulled.root_mean_square:>6.1%} {pulled.naive:>+7.1%}"
        )


if __name__ == "__main__":
    main()
