"""Ready-made feature views: one for search and social campaigns, one for logs of bid requests."""

from __future__ import annotations

from collections.abc import Sequence

from bidloop.features.view import CategoryFeature, FeatureView, MeasureFeature, RateFeature, RateValue

_ALL: tuple[RateValue, ...] = ("ctr", "conversion_rate", "impressions", "log_impressions")
_TIMES = ("hour", "weekday", "part_of_day")


def campaign_view(timezone: str = "UTC", measures: Sequence[str] = (), half_life_days: float = 14.0) -> FeatureView:
    """What there is to know of a cell: campaign, ad group, keyword, device, location, hour.

    Rates are kept for the account, campaign, ad group, keyword and cell (keyword × device × location), each drawn
    towards the one before it.

    Parameters
    ----------
    timezone
        IANA name of the account's timezone.
    measures
        Names of numeric facts to pass through, such as ``quality_score`` and ``impression_share``.
    half_life_days
        Days after which an observation counts half.

    Examples
    --------
    >>> campaign_view().categorical_names
    ('campaign_id', 'ad_group_id', 'keyword', 'device', 'location', 'hour', 'weekday', 'part_of_day')
    >>> [name for name in campaign_view().numeric_names if name.startswith("cell")]
    ['cell_ctr', 'cell_conversion_rate', 'cell_impressions', 'cell_log_impressions']
    """
    fields = ("campaign_id", "ad_group_id", "keyword", "device", "location")
    return FeatureView(
        name="campaign",
        timezone=timezone,
        categories=(*(CategoryFeature(name=field, source=field) for field in fields), *_times()),
        measures=_measures(measures),
        rates=(
            RateFeature(name="account", key=(), parent="", half_life_days=half_life_days, values=_ALL),
            RateFeature(name="campaign", key=fields[:1], half_life_days=half_life_days),
            RateFeature(name="ad_group", key=fields[:2], parent="campaign", half_life_days=half_life_days),
            RateFeature(name="keyword", key=fields[:3], parent="ad_group", half_life_days=half_life_days),
            RateFeature(name="cell", key=fields, parent="keyword", half_life_days=half_life_days, values=_ALL),
        ),
    )


def display_view(
    attributes: Sequence[str],
    measures: Sequence[str] = (),
    timezone: str = "UTC",
    *,
    rates: Sequence[str] | None = None,
    cell: Sequence[str] | None = None,
    half_life_days: float = 14.0,
) -> FeatureView:
    """What there is to know of a bid request: campaign, place, and the attributes that the log carries.

    Rates are kept for the account and the campaign, for each attribute within the campaign, and for the cell.

    Parameters
    ----------
    attributes
        Names of categorical attributes, such as ``domain``, ``slot``, ``creative``.
    measures
        Names of numeric facts to pass through, such as ``slot_floor``.
    timezone
        IANA name of the account's timezone.
    rates
        Attributes whose rates are kept; all of them by default.
    cell
        Attributes that make the cell together with the campaign; the first two of `attributes` by default. The cell is
        drawn towards the rate of its first attribute.
    half_life_days
        Days after which an observation counts half.

    Examples
    --------
    >>> view = display_view(["domain", "slot"], ["slot_floor"], "Asia/Shanghai")
    >>> [(rate.name, rate.key) for rate in view.rates][-1]
    ('cell', ('campaign_id', 'attributes.domain', 'attributes.slot'))
    >>> "slot_ctr" in view.numeric_names
    True
    """
    if rates is None:
        rates = attributes
    if cell is None:
        cell = attributes[:2]
    return FeatureView(
        name="display",
        timezone=timezone,
        categories=(
            CategoryFeature(name="campaign_id", source="campaign_id"),
            CategoryFeature(name="device", source="device"),
            CategoryFeature(name="location", source="location"),
            *(CategoryFeature(name=name, source=f"attributes.{name}") for name in attributes),
            *_times(),
        ),
        measures=_measures(measures),
        rates=(
            RateFeature(name="account", key=(), parent="", half_life_days=half_life_days, values=_ALL),
            RateFeature(name="campaign", key=("campaign_id",), half_life_days=half_life_days),
            *(
                RateFeature(
                    name=name,
                    key=("campaign_id", f"attributes.{name}"),
                    parent="campaign",
                    half_life_days=half_life_days,
                )
                for name in rates
            ),
            RateFeature(
                name="cell",
                key=("campaign_id", *(f"attributes.{name}" for name in cell)),
                parent=cell[0] if len(cell) > 1 and cell[0] in rates else "campaign",
                half_life_days=half_life_days,
                values=_ALL,
            ),
        ),
    )


def _times() -> tuple[CategoryFeature, ...]:
    return tuple(CategoryFeature(name=part, source=f"time.{part}") for part in _TIMES)


def _measures(names: Sequence[str]) -> tuple[MeasureFeature, ...]:
    return tuple(MeasureFeature(name=name, measure=name) for name in names)
