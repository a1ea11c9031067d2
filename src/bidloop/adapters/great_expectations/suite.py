"""What is expected of a campaign report as a whole."""

from __future__ import annotations

import html
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from bidloop.core.errors import RejectedRow
from bidloop.core.event import CampaignReported
from bidloop.events.packing import Item
from bidloop.events.rejected import Rejected
from bidloop.events.settings import EventSettings
from bidloop.events.validation import check

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

MOSTLY = 0.95
"""Share of rows that must meet an expectation of single rows. A bad row here and there is kept aside by itself."""

_FIGURES = ("impressions", "clicks", "conversions", "spend")
_TEXTS = ("cell", "rejected")


def frame(rows: Iterable[Item], now: datetime, settings: EventSettings) -> pd.DataFrame:
    """The rows of one report as a table; of a row that cannot be read only why, in `rejected`.

    Returns
    -------
    DataFrame
        Columns `at` (UTC), `cell`, `impressions`, `clicks`, `conversions`, `spend` and `rejected` (a code, or missing).
    """
    records = [_record(row, now, settings) for row in rows]
    table = pd.DataFrame.from_records(records, columns=["at", *_TEXTS, *_FIGURES])
    # Said by hand, because an empty table, or one without a readable row, has no types of its own.
    return table.astype({"at": "datetime64[ns, UTC]"} | dict.fromkeys(_FIGURES, float) | dict.fromkeys(_TEXTS, object))


def suite(now: datetime, settings: EventSettings) -> ExpectationSuite:
    """The expectations of `frame`, each with the sentence that the page shows."""
    import great_expectations as gx
    from great_expectations import expectations as expect
    from great_expectations.expectations.row_conditions import Column

    latest = now + timedelta(hours=settings.future_tolerance_hours)
    earliest = datetime(settings.earliest_year, 1, 1, tzinfo=now.tzinfo)
    most: dict[str, Any] = {"mostly": MOSTLY}
    expectations = [
        expect.ExpectTableRowCountToBeBetween(min_value=1, description="The report has rows"),
        expect.ExpectColumnValuesToBeNull(column="rejected", description="Rows can be read and make sense", **most),
        expect.ExpectColumnValuesToBeBetween(
            column="at", min_value=earliest, max_value=latest, description="Dates are plausible and have come", **most
        ),
        expect.ExpectColumnValuesToBeUnique(column="cell", description="Each cell has one row per period", **most),
        expect.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A="impressions",
            column_B="clicks",
            or_equal=True,
            description="There are at most as many clicks as impressions",
            **most,
        ),
        expect.ExpectColumnValuesToBeBetween(
            column="impressions",
            min_value=1,
            row_condition=Column("spend") > 0,
            description="Where money was spent, something was shown",
            **most,
        ),
        *(
            expect.ExpectColumnValuesToBeBetween(
                column=name, min_value=0, description=f"{name.capitalize()} is not negative", **most
            )
            for name in _FIGURES
        ),
    ]
    return gx.ExpectationSuite(name="campaign report", expectations=expectations)


def _record(row: Item, now: datetime, settings: EventSettings) -> tuple[object, ...]:
    if isinstance(row, Rejected):
        return (None, None, row.code, *(None for _ in _FIGURES))
    assert isinstance(row, CampaignReported)  # a reader of reports tells nothing else
    about = row.opportunity
    parts = (about.campaign_id, about.ad_group_id, about.keyword, about.device, about.location)
    further = (f"{name} {value}" for name, value in about.attributes.items() if value)
    # The page puts it into its HTML as it is.
    cell = html.escape(" · ".join([row.at.isoformat(), *filter(None, parts), *further]))
    figures = (row.impressions, row.clicks, row.conversions, row.spend.micros / 1_000_000)
    return (row.at, cell, _code(row, now, settings), *figures)


def _code(row: CampaignReported, now: datetime, settings: EventSettings) -> str | None:
    try:
        check(row, now, settings)
    except RejectedRow as error:
        return error.code
    return None
