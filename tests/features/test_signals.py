"""Each kind of signal, against what its definition says in plain arithmetic."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import msgspec
import numpy as np
import pytest

from bidloop.core.errors import ConfigurationError
from bidloop.core.event import (
    CompetitorLaunched,
    Event,
    FormSubmitted,
    IndicatorPublished,
    PageViewed,
    SeasonMarked,
    SessionEnded,
    SessionStarted,
)
from bidloop.core.money import Money
from bidloop.core.opportunity import History, Opportunity
from bidloop.core.outcome import Observations
from bidloop.features.amounts import Amount
from bidloop.features.holidays import days_until_holiday
from bidloop.features.online import InProcessStore
from bidloop.features.signal_sets import (
    SignalSet,
    calendar_signals,
    campaign_signals,
    chosen,
    market_signals,
    user_signals,
    with_signals,
)
from bidloop.features.signals import Age, Entity, Holiday, Latest, Quantile, Ratio, Recency, Running, Total
from bidloop.features.view import FeatureView
from bidloop.features.views import campaign_view, display_view

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
USER = Entity(name="user", key=("user_id",), parent="account")
PLACE = Entity(name="place", key=("location",), parent="account")


def viewed(*signals, amounts: tuple[Amount, ...] = (), **more) -> FeatureView:
    return with_signals(msgspec.structs.replace(campaign_view(), **more), SignalSet((USER, PLACE), amounts, signals))


def asked(at: datetime = MONDAY, **cell) -> Opportunity:
    return Opportunity(opportunity_id="o", at=at, **{"campaign_id": "shoes", **cell})


def seen(*rows: tuple[Opportunity, dict[str, float]]) -> Observations:
    def column(name: str, nothing: float = 0.0) -> np.ndarray:
        return np.array([amounts.get(name, nothing) for _, amounts in rows])

    told = ("market_price", "daily_budget")
    return Observations(
        at=np.array([about.at.replace(tzinfo=None) for about, _ in rows], dtype="datetime64[us]"),
        opportunities=[about for about, _ in rows],
        **{name: column(name) for name in ("impressions", "clicks", "conversions", "value", "cost")},
        further={name: column(name, math.nan) for name in told},
    )


def value(view: FeatureView, about: Opportunity, name: str, known: Observations | None = None, *events: Event):
    store = InProcessStore(view)
    store.observe(known, list(enumerate(events, start=1)))
    return store.read([about]).row(0).numeric[name]


def test_a_total_fades_like_a_window_of_its_length():
    view = viewed(
        Total(name="pages", entity="user", amount="views", over_days=2.0),
        amounts=(Amount(name="views", event="page_viewed"),),
    )
    pages = [PageViewed(event_id=f"{i}", at=MONDAY + i * DAY / 10, user_id="u") for i in range(1000)]
    at = MONDAY + 100 * DAY
    expected = sum(math.exp(-(at - page.at).total_seconds() / 86_400 / 2.0) for page in pages)
    found = value(view, asked(at, user_id="u"), "pages", None, *pages)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == pytest.approx(20, rel=0.05)  # ten a day, over two days
    assert value(view, asked(at, user_id="v"), "pages", None, *pages) == 0.0


def test_nothing_is_known_of_nobody():
    signals = user_signals()
    view = with_signals(campaign_view(), signals)
    row = InProcessStore(view).read([asked()]).row(0).numeric
    assert {signal.name for signal in signals.signals if row[signal.name] is not None} == set()


def test_a_total_may_be_missing_until_there_is_any():
    def view(missing):
        return viewed(
            Total(name="forms", entity="user", amount="forms", missing=missing),
            amounts=(Amount(name="forms", event="form_submitted"),),
        )

    form = FormSubmitted(event_id="f", at=MONDAY, user_id="u")
    at = asked(MONDAY + 400 * DAY, user_id="u")
    assert value(view("zero"), at, "forms") == 0.0
    assert value(view("missing"), at, "forms") is None
    assert value(view("missing"), at, "forms", None, form) == 1.0  # it never fades


def test_ratios_are_drawn_towards_the_entity_above():
    ratio = Ratio(
        name="cpa",
        entity="ad_group",
        numerator="cost",
        denominator="conversions",
        strength=3.0,
        strength_in="denominator",
        prior=10.0,
    )
    view = viewed(ratio)
    known = seen(
        (asked(ad_group_id="red"), {"cost": 50.0, "conversions": 2.0}),
        (asked(ad_group_id="blue"), {"cost": 30.0, "conversions": 4.0}),
        (asked(campaign_id="hats"), {"cost": 100.0, "conversions": 1.0}),
    )
    account = (180 + 3 * 10) / (7 + 3)
    campaign = (80 + 3 * account) / (6 + 3)
    later = MONDAY + DAY
    assert value(view, asked(later, ad_group_id="red"), "cpa", known) == pytest.approx((50 + 3 * campaign) / (2 + 3))
    assert value(view, asked(later, ad_group_id="new"), "cpa", known) == pytest.approx(campaign)
    assert value(view, asked(later, campaign_id="new"), "cpa", known) == pytest.approx(account)
    assert value(view, asked(later, ad_group_id="red"), "cpa") is None


def test_a_ratio_without_a_prior_is_the_plain_one_at_the_top():
    view = viewed(
        Ratio(
            name="roas",
            entity="campaign",
            numerator="value",
            denominator="cost",
            strength=1.0,
            strength_in="denominator",
        )
    )
    known = seen((asked(), {"value": 60.0, "cost": 20.0}), (asked(campaign_id="hats"), {"value": 0.0, "cost": 40.0}))
    assert value(view, asked(MONDAY + DAY), "roas", known) == pytest.approx((60 + 1 * 1.0) / (20 + 1))


def test_a_cap_holds_where_reports_tell_more_events_than_trials():
    view = viewed(Ratio(name="rate", entity="campaign", numerator="conversions", denominator="clicks", cap=1.0))
    known = seen((asked(), {"conversions": 9.0, "clicks": 3.0}))
    assert value(view, asked(MONDAY + DAY), "rate", known) == 1.0


def test_quantiles_of_the_market_price_are_right_to_a_fifth():
    rng = np.random.default_rng(3)
    prices = np.exp(rng.normal(1.0, 0.8, 4000))
    known = seen(*((asked(), {"market_price": float(price)}) for price in prices))
    for share in (0.1, 0.25, 0.5, 0.9):
        view = viewed(Quantile(name="price", entity="campaign", amount="market_price", quantile=share, over_days=7.0))
        found = value(view, asked(MONDAY + DAY), "price", known)
        assert found == pytest.approx(np.quantile(prices, share), rel=0.2)
        assert value(view, asked(MONDAY + DAY, campaign_id="new"), "price", known) == pytest.approx(found)
        assert value(view, asked(MONDAY + DAY), "price") is None


def test_utilisation_is_spend_per_daily_budget():
    view = with_signals(campaign_view(), campaign_signals())
    known = seen(
        (asked(), {"cost": 30.0, "impressions": 1.0, "daily_budget": 40.0}),
        (asked(), {"cost": 30.0, "daily_budget": 20.0}),
    )
    at = asked(MONDAY + DAY)
    assert value(view, at, "budget_utilisation_1d", known) == pytest.approx(60 * math.exp(-1) / 40, rel=1e-6)
    assert value(view, asked(MONDAY + DAY, campaign_id="hats"), "budget_utilisation_1d", known) is None  # it has none
    assert value(view, at, "budget_utilisation_1d", seen((asked(), {"cost": 30.0}))) is None


def test_a_figure_counts_from_its_publication_and_where_it_holds():
    view = with_signals(campaign_view(), market_signals(["cci"]))
    april = IndicatorPublished(event_id="a", at=MONDAY + 20 * DAY, series="cci", period="2026-01", value=101.5)
    german = IndicatorPublished(
        event_id="b", at=MONDAY + 22 * DAY, series="cci", period="2026-01", value=99.0, location="DE"
    )
    other = IndicatorPublished(event_id="c", at=MONDAY + 23 * DAY, series="ifo", period="2026-01", value=1.0)
    told = (april, german, other)
    assert value(view, asked(MONDAY + 20 * DAY), "cci", None, *told) is None  # the very instant is too early
    assert value(view, asked(MONDAY + 21 * DAY, location="DE"), "cci", None, *told) == 101.5
    assert value(view, asked(MONDAY + 24 * DAY, location="DE"), "cci", None, *told) == 99.0
    assert value(view, asked(MONDAY + 24 * DAY, location="FR"), "cci", None, *told) == 101.5


def test_an_old_figure_is_not_known_any_more():
    amount = Amount(name="index", event="indicator_published", field="value")
    view = viewed(Latest(name="index", entity="place", amount="index", max_age_days=2.0), amounts=(amount,))
    told = IndicatorPublished(event_id="a", at=MONDAY, series="s", period="p", value=3.0)
    assert value(view, asked(MONDAY + 2 * DAY), "index", None, told) == 3.0
    assert value(view, asked(MONDAY + 2.1 * DAY), "index", None, told) is None


def test_of_several_figures_at_one_instant_the_largest_holds_in_whatever_order():
    amount = Amount(name="index", event="indicator_published", field="value")
    view = viewed(Latest(name="index", entity="account", amount="index"), amounts=(amount,))
    told = [IndicatorPublished(event_id=str(v), at=MONDAY, series="s", period="p", value=v) for v in (-3.0, 7.0, 2.0)]
    for events in (told, told[::-1], told[1:] + told[:1]):
        assert value(view, asked(MONDAY + DAY), "index", None, *events) == 7.0


@pytest.mark.parametrize("values", [(7.0, 3.0), (3.0, 7.0), (-3.0, -7.0)])
def test_of_two_figures_at_one_instant_that_are_learned_one_after_the_other_the_larger_holds(values):
    amount = Amount(name="index", event="indicator_published", field="value")
    store = InProcessStore(viewed(Latest(name="index", entity="account", amount="index"), amounts=(amount,)))
    for number, told in enumerate(values, start=1):
        event = IndicatorPublished(event_id=str(number), at=MONDAY, series="s", period="p", value=told)
        store.observe(events=[(number, event)])
        found = store.read([asked(MONDAY + DAY)]).row(0).numeric["index"]
    assert found == max(values)


def test_a_season_runs_between_its_two_instants():
    view = with_signals(campaign_view(), calendar_signals())
    sale = SeasonMarked(event_id="s", at=MONDAY, name="sale", starts=MONDAY + 5 * DAY, ends=MONDAY + 7 * DAY)
    days = [value(view, asked(MONDAY + day * DAY), "season", None, sale) for day in (1, 5, 6, 7, 8)]
    assert days == [0.0, 1.0, 1.0, 0.0, 0.0]
    assert value(view, asked(MONDAY + 6 * DAY), "season") == 0.0


def test_recency_and_age_count_days_from_the_last_and_the_first():
    amount = Amount(name="views", event="page_viewed")
    view = viewed(
        Recency(name="recency", entity="user", amount="views"),
        Age(name="age", entity="user", amount="views"),
        amounts=(amount,),
    )
    pages = [PageViewed(event_id=str(d), at=MONDAY + d * DAY, user_id="u") for d in (3, 1, 9)]
    at = asked(MONDAY + 5 * DAY, user_id="u")
    assert value(view, at, "recency", None, *pages) == pytest.approx(2.0)
    assert value(view, at, "age", None, *pages) == pytest.approx(4.0)
    assert value(view, asked(MONDAY, user_id="u"), "age", None, *pages) is None


def test_bounces_are_visits_of_one_page():
    view = with_signals(campaign_view(), user_signals())
    ended = [
        SessionEnded(event_id=str(i), at=MONDAY, user_id="u", duration_seconds=30.0 * pages, page_views=pages)
        for i, pages in enumerate((1, 1, 5))
    ]
    row = InProcessStore(view)
    row.observe(events=list(enumerate([*ended, SessionStarted(event_id="s", at=MONDAY, user_id="u")], start=1)))
    numeric = row.read([asked(MONDAY + timedelta(seconds=1), user_id="u")]).row(0).numeric
    assert numeric["user_bounce_rate"] == pytest.approx(2 / 3, rel=1e-4)
    assert numeric["user_session_duration"] == pytest.approx(70.0, rel=1e-4)
    assert numeric["user_frequency_30d"] == pytest.approx(1.0, rel=1e-4)


def test_the_calendar_is_the_accounts_own():
    view = with_signals(campaign_view("Asia/Tokyo"), calendar_signals("JP"))
    row = InProcessStore(view).read([asked(datetime(2026, 12, 31, 16, tzinfo=UTC))]).row(0).numeric
    assert (row["day_of_month"], row["is_holiday"], row["days_to_holiday"]) == (1.0, 1.0, 0.0)  # New Year in Tokyo
    assert row["year_cos"] == pytest.approx(1.0)
    saturday = InProcessStore(view).read([asked(datetime(2026, 1, 2, 16, tzinfo=UTC))]).row(0).numeric
    assert saturday["is_weekend"] == 1.0


def test_an_event_counts_from_the_end_of_its_step_of_time():
    view = viewed(
        Total(name="views", entity="user", amount="views"),
        amounts=(Amount(name="views", event="page_viewed"),),
        resolution_seconds=10.0,
    )
    page = PageViewed(event_id="p", at=MONDAY + timedelta(seconds=3), user_id="u")
    known = [
        value(view, asked(MONDAY + timedelta(seconds=s), user_id="u"), "views", None, page)
        for s in (4, 9.999999, 10, 11)
    ]
    assert known == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("signals", "amounts", "said"),
    [
        ((Total(name="x", entity="usr", amount="clicks"),), (), "Did you mean 'user'"),
        ((Total(name="x", entity="user", amount="cliks"),), (), "Did you mean 'clicks'"),
        ((Total(name="x", entity="user", amount="market_price"),), (), "adds up"),
        ((Total(name="hour_sin", entity="user", amount="clicks"),), (), "used twice"),
        ((Total(name="x", entity="user", amount="clicks", range=(2.0, 1.0)),), (), "smaller first"),
        ((Holiday(name="x", country="DEE"),), (), "ISO 3166"),
        ((Running(name="x", entity="place", starts="a", ends="b"),), (), "amount 'a'"),
        ((), (Amount(name="clicks", event="page_viewed"),), "two amounts"),
    ],
)  # fmt: skip
def test_a_definition_that_contradicts_itself_is_refused_with_the_closest_word(signals, amounts, said):
    with pytest.raises(ConfigurationError, match=said):
        viewed(*signals, amounts=amounts)


def test_a_model_may_look_at_some_of_the_signals_alone():
    view = with_signals(campaign_view(), campaign_signals())
    few = chosen(view, ["ctr_7d", "cpa_30d"])
    assert few.numeric_names[-2:] == ("ctr_7d", "cpa_30d")
    assert few.version != view.version
    with pytest.raises(ConfigurationError, match="Did you mean 'ctr_7d'"):
        chosen(view, ["ctr_7days"])


def test_older_definitions_keep_their_version():
    assert campaign_view().version == "58d08977b803"


def test_prices_beyond_the_bins_count_in_the_last_ones():
    view = viewed(Quantile(name="price", entity="campaign", amount="market_price", quantile=0.5))
    yen = seen(*((asked(), {"market_price": 50_000.0}) for _ in range(9)), (asked(), {"market_price": 2.0}))
    assert value(view, asked(MONDAY + DAY), "price", yen) > 2000
    tiny = seen(*((asked(), {"market_price": 1e-9}) for _ in range(9)), (asked(), {"market_price": 2.0}))
    assert value(view, asked(MONDAY + DAY), "price", tiny) < 0.001
    assert value(view, asked(MONDAY + DAY), "price", seen((asked(), {"market_price": 0.0}))) is None


def test_a_launch_in_one_place_is_a_launch_and_a_figure_of_one_place_is_that_place_s():
    view = with_signals(campaign_view(), market_signals(["cci"]))
    launch = CompetitorLaunched(event_id="l", at=MONDAY, competitor="c", location="DE")
    figure = IndicatorPublished(event_id="f", at=MONDAY, series="cci", period="p", value=1.0, location="DE")
    at = asked(MONDAY + DAY, location="FR")
    assert value(view, at, "days_since_launch", None, launch, figure) == pytest.approx(1.0)
    assert value(view, at, "cci", None, launch, figure) is None


def test_days_are_counted_to_the_instant_of_the_opportunity_whatever_the_lag():
    amount = Amount(name="views", event="page_viewed")
    view = viewed(Recency(name="recency", entity="user", amount="views"), amounts=(amount,), lag_seconds=86_400.0)
    page = PageViewed(event_id="p", at=MONDAY, user_id="u")
    assert value(view, asked(MONDAY + 3 * DAY, user_id="u"), "recency", None, page) == pytest.approx(3.0)


def test_what_the_caller_tells_of_the_cell_changes_the_cell_alone():
    told = History(ctr=0.5, conversion_rate=0.5, spend=Money(0), impressions=1000, clicks=500)
    view = display_view(["slot"], half_life_days=7.0)  # the cell has the key of the slot
    known = seen((asked(attributes={"slot": "other"}), {"impressions": 1000.0, "clicks": 20.0}))
    at = asked(MONDAY + DAY, attributes={"slot": "new"})
    store = InProcessStore(view)
    store.observe(known)
    plain, helped = (store.read([one]).row(0).numeric for one in (at, msgspec.structs.replace(at, history=told)))
    assert helped["cell_ctr"] > 0.3 > plain["cell_ctr"]
    assert {n for n in plain if plain[n] != helped[n]} == {
        "cell_ctr", "cell_conversion_rate", "cell_impressions", "cell_log_impressions",
    }  # fmt: skip


@pytest.mark.parametrize(("told", "wanted", "counts"), [(30.0, "30", 1.0), (30, "30.0", 1.0), (31.0, "30", 0.0)])
def test_a_condition_on_a_number_compares_numbers(told, wanted, counts):
    amount = Amount(name="visits", event="session_ended", where={"duration_seconds": wanted})
    view = viewed(Total(name="visits_total", entity="user", amount="visits"), amounts=(amount,))
    ended = SessionEnded(event_id="e", at=MONDAY, user_id="u", duration_seconds=told)
    assert value(view, asked(MONDAY + DAY, user_id="u"), "visits_total", None, ended) == counts
    with pytest.raises(ConfigurationError, match="duration_seconds = 'long'"):
        Amount(name="visits", event="session_ended", where={"duration_seconds": "long"})


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        (Latest(name="x", entity="campaign", amount="cost"), "a single value"),
        (Ratio(name="x", entity="campaign", numerator="clicks", denominator="cost", strength=math.inf), "strength = inf"),
        (Ratio(name="x", entity="campaign", numerator="clicks", denominator="cost", prior=-1.0), "prior = -1"),
        (Total(name="x", entity="campaign", amount="clicks", over_days=-1.0), "over_days"),
        (Total(name="x", entity="campaign", amount="clicks", range=(0.0, math.inf)), "finite numbers"),
        (Total(name="present", entity="campaign", amount="clicks"), "none of present, champion"),
    ],
)  # fmt: skip
def test_numbers_and_names_that_make_no_sense_are_refused_wherever_they_come_from(signal, said):
    with pytest.raises(ConfigurationError, match=said):
        viewed(signal)


def test_a_value_that_holds_the_separator_shares_no_cell_with_another():
    view = viewed(Total(name="clicks_total", entity="ad_group", amount="clicks"))
    known = seen((asked(campaign_id="a\x1fb", ad_group_id="c"), {"clicks": 5.0}))
    assert value(view, asked(MONDAY + DAY, campaign_id="a", ad_group_id="b\x1fc"), "clicks_total", known) == 0.0


def test_a_year_that_several_threads_ask_for_at_once_has_its_holidays():
    with ThreadPoolExecutor(4) as pool:
        for year in range(2060, 2080):
            found = pool.map(lambda _, year=year: days_until_holiday(date(year, 12, 25), "DE"), range(8))
            assert set(found) == {0}


def test_a_correction_of_the_past_is_no_sign_of_life():
    view = viewed(
        Recency(name="recency", entity="campaign", amount="impressions"),
        Age(name="age", entity="campaign", amount="impressions"),
    )
    known = seen((asked(), {"impressions": 100.0}), (asked(MONDAY + 20 * DAY), {"impressions": 1.0}))
    known = replace(known, spent_at=np.array([MONDAY.replace(tzinfo=None)] * 2, dtype="datetime64[us]"))
    assert value(view, asked(MONDAY + 21 * DAY), "recency", known) == pytest.approx(21.0)
    assert value(view, asked(MONDAY + 21 * DAY), "age", known) == pytest.approx(21.0)
