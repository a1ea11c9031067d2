"""Which column of a report holds what."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bidloop.adapters.campaign_report.rows import read_columns
from bidloop.core.errors import ConfigurationError, InvalidInput, NotFound
from bidloop.core.opportunity import Charge


class ColumnMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names of a report's columns, by what they hold. An empty name says that the report has no such column.

    Parameters
    ----------
    date
        Column with the start of the period, in ISO 8601 or as `date_format` says.
    date_format
        Format of `date` in the letters of Python's ``strptime``; empty for ISO 8601.
    month, day
        Columns with the month (its English name or its number) and the day, for reports without a full date. They need
        `year`.
    year
        The year of `month` and `day`.
    timezone
        IANA name of the account's time zone, which dates without a zone are in.
    campaign_id, ad_group_id, keyword, device, location
        Columns of the cell; the campaign is needed.
    attributes, measures
        Further columns, categorical and numeric, by the name that they get.
    impressions, clicks, spend
        Columns of the counts and the cost; all are needed.
    conversions, value
        Columns of the conversions and their value. Without the first, conversions count as 0.
    impression_share
        Column with the share of possible impressions, as a share (``0.453``) or in percent with its sign (``45.3%``). A bound
        such as ``< 10%`` counts as missing.
    quality_score, average_position, budget
        Columns of what the platform tells beside the counts.
    currency
        ISO 4217 code of spend, value and budget.
    charge
        What a bid of this account is the price of.
    missing
        Texts that stand for a missing value.

    Examples
    --------
    >>> spec().impressions
    'impressions'
    """

    date: str = ""
    date_format: str = ""
    month: str = ""
    day: str = ""
    year: int | None = None
    timezone: str = "UTC"
    campaign_id: str
    ad_group_id: str = ""
    keyword: str = ""
    device: str = ""
    location: str = ""
    attributes: dict[str, str] = {}
    measures: dict[str, str] = {}
    impressions: str
    clicks: str
    conversions: str = ""
    spend: str
    value: str = ""
    impression_share: str = ""
    quality_score: str = ""
    average_position: str = ""
    budget: str = ""
    currency: str = "USD"
    charge: Charge = Charge.PER_CLICK
    missing: tuple[str, ...] = ("", "#N/A", "N/A", "NA", "null", "NULL", "None", "--")

    def columns(self) -> Iterator[str]:
        """The columns that a report must have."""
        single = (
            self.date, self.month, self.day, self.campaign_id, self.ad_group_id, self.keyword, self.device,
            self.location, self.impressions, self.clicks, self.conversions, self.spend, self.value,
            self.impression_share, self.quality_score, self.average_position, self.budget,
        )  # fmt: skip
        yield from (name for name in single if name)
        yield from self.attributes.values()
        yield from self.measures.values()


def spec(*, currency: str = "USD", timezone: str = "UTC") -> ColumnMapping:
    """The mapping of reports whose columns are the fields of `RawCampaignData`.

    These are timestamp, spend, clicks, impressions, conversions, campaignId, adGroupId, keyword, device and location.
    """
    return ColumnMapping(
        date="timestamp",
        timezone=timezone,
        campaign_id="campaignId",
        ad_group_id="adGroupId",
        keyword="keyword",
        device="device",
        location="location",
        impressions="impressions",
        clicks="clicks",
        conversions="conversions",
        spend="spend",
        currency=currency,
    )


def display_campaign_report(*, year: int | None = None) -> ColumnMapping:
    """The mapping of a display advertiser's report by month, day, campaign, engagement, banner and placement.

    Its `revenue` is what the advertiser paid for the clicks, an outcome, and is not read.
    """
    return ColumnMapping(
        month="month",
        day="day",
        year=year,
        campaign_id="campaign_number",
        attributes={"engagement": "user_engagement", "banner": "banner", "placement": "placement"},
        impressions="displays",
        clicks="clicks",
        conversions="post_click_conversions",
        spend="cost",
        value="post_click_sales_amount",
        charge=Charge.PER_MILLE,
    )


_NAMES: dict[str, tuple[str, ...]] = {
    "date": ("timestamp", "date", "day", "datetime", "hour", "start", "startdate", "reportingstarts", "timeperiod"),
    "campaign_id": ("campaignid", "campaign", "campaignname", "campaignnumber"),
    "impressions": ("impressions", "impr", "imps", "displays", "views"),
    "clicks": ("clicks", "linkclicks"),
    "spend": ("spend", "cost", "amountspent", "spent"),
    "ad_group_id": ("adgroupid", "adgroup", "adgroupname", "adset", "adsetname", "adsetid"),
    "keyword": ("keyword", "searchkeyword"),
    "device": ("device", "devicetype"),
    "location": ("location", "region", "country", "city"),
    "conversions": ("conversions", "conv", "results", "postclickconversions"),
    "value": (
        "conversionvalue", "conversionsvalue", "convvalue", "totalconvvalue", "purchaseconversionvalue",
        "purchasesconversionvalue", "allconvvalue", "value", "sales", "postclicksalesamount",
    ),
    "impression_share": (
        "searchimprshare", "searchimpressionshare", "impressionshare", "imprshare", "displayimprshare",
        "displayimpressionshare", "impressionsharepercent",
    ),
    "quality_score": ("qualityscore",),
    "average_position": ("averageposition", "avgposition", "avgpos"),
    "budget": ("budget", "dailybudget", "campaignbudget", "campaigndailybudget", "budgetamount"),
}  # fmt: skip
"""What platforms call these columns, without case, spaces and signs; the earlier name is the better one."""

_NEEDED = ("date", "campaign_id", "impressions", "clicks", "spend")


def guess_mapping(columns: Sequence[str]) -> ColumnMapping:
    """The mapping that fits a report's columns.

    Parameters
    ----------
    columns
        The report's header.

    Raises
    ------
    InvalidInput
        When a needed column cannot be told; names the columns that come nearest.

    Examples
    --------
    >>> guess_mapping(["Date", "Campaign", "Impr.", "Clicks", "Cost"]).impressions
    'Impr.'
    """
    for preset in (spec(), display_campaign_report()):
        if set(preset.columns()) <= set(columns):
            return preset
    plain: dict[str, str] = {}
    for column in columns:
        plain.setdefault(_plain(column), column)
    found = {
        field: plain[name] for field, names in _NAMES.items() if (name := next((n for n in names if n in plain), None))
    }
    for field in _NEEDED:
        if field not in found:
            raise _not_found(field, columns)
    return msgspec.convert(found, ColumnMapping)


def check_columns(mapping: ColumnMapping, columns: Sequence[str]) -> None:
    """Accept a report's header in silence, or say which column of the mapping it lacks.

    Raises
    ------
    InvalidInput
        When a column is missing or there twice.
    ConfigurationError
        When the mapping names no date.
    """
    if not mapping.date and not (mapping.month and mapping.day and mapping.year):
        raise ConfigurationError(
            "a mapping without a date", expected="`date`, or `month`, `day` and `year`", remedy="Say which year it is."
        )
    twice = sorted({column for column in columns if columns.count(column) > 1} & set(mapping.columns()))
    if twice:
        raise InvalidInput(f"column {twice[0]!r} twice", path=twice[0], expected="one column of each name")
    for column in mapping.columns():
        if column not in columns:
            raise InvalidInput(
                f"no column {column!r} among {', '.join(map(repr, columns))}",
                path=column,
                expected=_nearest(column, columns),
                remedy="Name the report's own columns in the mapping.",
            )


def load_mapping(
    name: str | None,
    report: Path,
    *,
    year: int | None = None,
    timezone: str = "UTC",
    currency: str = "USD",
) -> ColumnMapping:
    """The mapping that a user asks for, or the one that fits the report's columns.

    Parameters
    ----------
    name
        ``spec``, ``display_campaign_report``, or a TOML file whose keys are fields of `ColumnMapping`; `None` has it
        guessed.
    report
        The report, whose header a guess is made from.
    year
        The year, for a report with month and day alone.
    timezone, currency
        The account's own; a TOML file that says otherwise is right.

    Raises
    ------
    NotFound
        When there is no such file.
    ConfigurationError
        When it is no TOML, or a key is unknown or missing.
    InvalidInput
        When the report has no header, or the mapping cannot be guessed from it.
    """
    if name is not None and name not in _PRESETS:
        return _from_toml(Path(name), {"timezone": timezone, "currency": currency} | ({"year": year} if year else {}))
    mapping = guess_mapping(read_columns(report)) if name is None else _PRESETS[name]()
    return msgspec.structs.replace(mapping, year=year, timezone=timezone, currency=currency)


_PRESETS: dict[str, Callable[[], ColumnMapping]] = {
    "spec": spec,
    "display_campaign_report": display_campaign_report,
}


def _from_toml(path: Path, defaults: dict[str, object]) -> ColumnMapping:
    try:
        return msgspec.convert(defaults | tomllib.loads(path.read_text(encoding="utf-8")), ColumnMapping)
    except OSError as error:
        raise NotFound(f"no mapping {str(path)!r}", expected=f"a TOML file, or one of {', '.join(_PRESETS)}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"mapping {str(path)!r}: {error}", expected=f"keys among {', '.join(ColumnMapping.__struct_fields__)}"
        ) from error


def _not_found(field: str, columns: Sequence[str]) -> InvalidInput:
    candidates = [near for name in _NAMES[field] for near in difflib.get_close_matches(name, map(_plain, columns), 1)]
    near = [column for column in columns if _plain(column) in candidates]
    return InvalidInput(
        f"no column for {field} among {', '.join(map(repr, columns))}",
        path=field,
        expected=f"one named such as {', '.join(_NAMES[field][:3])}",
        remedy=(f"The nearest is {near[0]!r}. " if near else "") + "Say in a mapping which column it is.",
    )


def _nearest(column: str, columns: Sequence[str]) -> str:
    near = difflib.get_close_matches(column, columns, n=3, cutoff=0.4)
    return f"perhaps {' or '.join(map(repr, near))}" if near else "the mapping's columns in the report"


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())
