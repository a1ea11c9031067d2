"""What an allocation learns from: spend and outcome by campaign and day, from report files or from the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bidloop.adapters.campaign_report.mapping import load_mapping
from bidloop.adapters.campaign_report.reader import read_report
from bidloop.bidding.allocation.days import CampaignDays
from bidloop.core.errors import InsufficientData, InvalidInput
from bidloop.core.event import CampaignReported
from bidloop.core.local_day import local_days
from bidloop.core.opportunity import Opportunity
from bidloop.outcomes.delay_fit import fit_delay_model
from bidloop.outcomes.maturity import matured

if TYPE_CHECKING:
    from bidloop.app.wiring import House

OBJECTIVES = ("clicks", "conversions", "value")
LEAST_REPORTED = 0.1
"""Days of which less than this share is reported tell nothing yet."""


@dataclass(frozen=True)
class Source:
    """Campaign-days, the currency of their money, and what a reader should know of where they come from."""

    days: CampaignDays
    currency: str
    notes: tuple[str, ...]


def days_of_reports(
    paths: Sequence[Path],
    objective: str,
    *,
    mapping: str | None = None,
    year: int | None = None,
    timezone: str = "UTC",
    currency: str = "USD",
    unit: Callable[[Opportunity], str] = lambda opportunity: opportunity.campaign_id,
) -> Source:
    """Spend and outcome by campaign and day from campaign reports; a row that is told again restates what it told before.

    Parameters
    ----------
    paths
        CSV or Parquet files, the latest last.
    objective
        ``clicks``, ``conversions`` or ``value``.
    mapping, year, timezone, currency
        As of `load_mapping`.
    unit
        What money is given to; by default the campaign.

    Raises
    ------
    InvalidInput
        When the columns cannot be told, or the files are in several currencies.
    InsufficientData
        When there is no row that makes sense.
    """
    rows: dict[str, CampaignReported] = {}
    rejected = 0
    for path in paths:
        asked = load_mapping(mapping, path, year=year, timezone=timezone, currency=currency)
        for item in read_report(path, asked):
            if isinstance(item, CampaignReported):
                rows[item.row_id] = item
            else:
                rejected += 1
    if not rows:
        raise InsufficientData(
            f"no row that makes sense in {', '.join(map(str, paths))}",
            expected="a campaign report with a row per campaign and day",
        )
    told = list(rows.values())
    currencies = sorted({event.spend.currency for event in told})
    if len(currencies) > 1:
        raise InvalidInput(f"money in {', '.join(currencies)}", expected="one currency")
    days = _days(
        [unit(event.opportunity) for event in told],
        np.array([event.at.replace(tzinfo=None) for event in told], dtype="datetime64[us]"),
        timezone,
        np.array([event.spend.amount for event in told]),
        np.array([float(event.clicks) for event in told]),
        np.array([event.conversions for event in told]),
        np.array([0.0 if event.value is None else event.value.amount for event in told]),
        objective,
    )
    notes = [f"{rejected:,} rows make no sense and are left out."] if rejected else []
    if objective != "clicks":
        notes.append(
            "A report does not tell which conversions are still to come: if the last days lack some, they count as what they are."
        )
    return Source(days, currencies[0], tuple(notes))


def days_of_history(house: House, objective: str) -> Source:
    """Spend and outcome by campaign and day from what the home folder knows; young conversions count for the share reported."""
    house.history.sync()
    as_of = house.history.latest()
    if as_of is None:
        raise InsufficientData(
            "an empty history", expected="events", remedy="Run 'bidloop ingest', or name report files."
        )
    outcomes = house.history.outcomes(as_of=as_of)
    reported = None
    if objective != "clicks":
        window = house.settings.outcomes.conversion_window_days
        delays = fit_delay_model(house.history.delays(as_of=as_of), window_days=window)
        reported = matured(outcomes, delays, as_of)
    told = np.isfinite(outcomes.cost)
    rows = np.flatnonzero(told)
    weight = outcomes.weight[rows]
    days = _days(
        [outcomes.opportunities[i].campaign_id for i in rows],
        outcomes.at[rows],
        house.settings.timezone,
        weight * outcomes.cost[rows],
        weight * outcomes.clicks[rows],
        weight * outcomes.conversions[rows],
        weight * outcomes.value[rows],
        objective,
        None if reported is None else reported[rows],
    )
    missing = int(len(told) - told.sum())
    notes = [f"{missing:,} impressions whose cost is not told are left out."] if missing else []
    # The day of the latest event may not be over.
    midnight = np.datetime64(as_of.astimezone(ZoneInfo(house.settings.timezone)).date(), "D")
    return Source(days.between(None, midnight), house.settings.currency, tuple(notes))


def _days(
    names: Sequence[str],
    at: NDArray[np.datetime64],
    timezone: str,
    spend: NDArray[np.float64],
    clicks: NDArray[np.float64],
    conversions: NDArray[np.float64],
    value: NDArray[np.float64],
    objective: str,
    reported: NDArray[np.float64] | None = None,
) -> CampaignDays:
    """Rows summed by campaign and local day; days without spend tell nothing and are left out."""
    if objective not in OBJECTIVES:
        raise InvalidInput(f"objective {objective!r}", path="objective", expected=f"one of {', '.join(OBJECTIVES)}")
    outcome = {"clicks": clicks, "conversions": conversions, "value": value}[objective]
    if objective == "value" and not value.any():
        raise InsufficientData(
            "no conversion value", expected="values of conversions", remedy="Choose another objective."
        )
    local = local_days(at, timezone)
    keys, place = np.unique(
        np.array([f"{day}\0{name}" for day, name in zip(local, names, strict=True)], dtype=object), return_inverse=True
    )
    sums: list[NDArray[np.float64]] = [
        np.bincount(place, column, minlength=len(keys)).astype(float) for column in (spend, outcome, clicks)
    ]
    share = None
    if reported is not None:
        # A row's share counts by its clicks; where none were clicked, all its rows count alike.
        share = np.where(
            sums[2] > 0,
            np.bincount(place, clicks * reported, minlength=len(keys)) / np.maximum(sums[2], 1e-300),
            np.bincount(place, reported, minlength=len(keys)) / np.bincount(place, minlength=len(keys)),
        )
    keep = sums[0] > 0
    if share is not None:
        keep &= share >= LEAST_REPORTED
    pairs = [key.split("\0", 1) for key in keys[keep]]
    orders = float(conversions.sum())
    return CampaignDays(
        np.array([name for _, name in pairs], dtype=object),
        np.array([day for day, _ in pairs], dtype="datetime64[D]"),
        sums[0][keep],
        np.maximum(sums[1][keep], 0.0),
        None if share is None else np.minimum(share[keep], 1.0),
        float(value.sum()) / orders if objective == "value" and orders > 0 else 1.0,
    )
