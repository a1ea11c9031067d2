"""What is worth knowing of an iPinYou bid request: its fields, and rates of the past along slot, page and creative."""

from __future__ import annotations

from bidloop.adapters.ipinyou.reader import ATTRIBUTES, MEASURES, TIMEZONE
from bidloop.features.view import CategoryFeature, FeatureView, MeasureFeature, RateFeature, RateValue

EVERY: tuple[RateValue, ...] = ("ctr", "conversion_rate", "impressions", "log_impressions")


def ipinyou_view(half_life_days: float = 5.0, lag_seconds: float = 180.0) -> FeatureView:
    """The feature view for this log.

    A page's rate says more than a campaign's on that page, so rates are kept over all campaigns along exchange → domain →
    slot and url; only creative and cell (campaign × slot) are the campaign's own.

    Parameters
    ----------
    lag_seconds
        Three minutes is the mean time from impression to click in this log. Without it a model would learn from the log's
        defect: click rows carry the time of the click, when other clicks of the same visit are known already.

    Examples
    --------
    >>> [rate.name for rate in ipinyou_view().rates]
    ['account', 'exchange', 'domain', 'slot', 'url', 'slot_size', 'campaign', 'creative', 'cell']
    """

    def rate(name: str, *key: str, parent: str = "account", values: tuple[RateValue, ...] = ("ctr",)) -> RateFeature:
        return RateFeature(name=name, key=key, parent=parent, half_life_days=half_life_days, values=values)

    names = tuple(name for name in ATTRIBUTES if name != "region")  # the region is the location
    return FeatureView(
        name="ipinyou",
        timezone=TIMEZONE,
        lag_seconds=lag_seconds,
        base_ctr=0.0007,
        categories=(
            *(CategoryFeature(name=name, source=f"attributes.{name}") for name in names),
            CategoryFeature(name="campaign_id", source="campaign_id"),
            CategoryFeature(name="location", source="location"),
            CategoryFeature(name="hour", source="time.hour"),
        ),
        cyclic=("hour",),
        measures=tuple(MeasureFeature(name=name, measure=name) for name in MEASURES),
        rates=(
            rate("account", parent="", values=EVERY),
            rate("exchange", "attributes.exchange"),
            rate("domain", "attributes.domain", parent="exchange"),
            rate("slot", "attributes.slot", parent="domain"),
            rate("url", "attributes.url", parent="domain"),
            rate("slot_size", "attributes.slot_size"),
            rate("campaign", "campaign_id"),
            rate("creative", "attributes.creative", parent="campaign"),
            rate("cell", "campaign_id", "attributes.slot", parent="slot", values=EVERY),
        ),
    )
