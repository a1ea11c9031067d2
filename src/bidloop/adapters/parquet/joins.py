"""The joins of the history, in DuckDB's SQL.

They read a view `events` (columns in `rows.SCHEMA`) and a table `decided` (impression_id, at_utc, charge, opportunity) of
impressions that do not tell what they were for but whose decision is known. The rules are those of
`bidloop.outcomes.joining`, and a test holds the two against each other.
"""

from __future__ import annotations

import math

from bidloop.core.outcome import FURTHER
from bidloop.outcomes.report_rows import LEAST_SHARE, MOST_SCORE

_ORDER_EVENTS = "('conversion_reported', 'conversion_restated', 'conversion_retracted')"

UNTOLD = f"""
SELECT impression_id FROM events
WHERE type IN ('impression_served', 'click_received') OR type IN {_ORDER_EVENTS}
GROUP BY impression_id
HAVING count(*) FILTER (type = 'impression_served' AND opportunity IS NOT NULL) = 0
"""
"""Impressions whose opportunity the events do not tell, though something came of them."""

_SHOWN = """
WITH notice AS (
    -- Of several notices of one win, the price that was told first.
    SELECT impression_id, position, at_utc, price_micros / 1e6 AS price
    FROM events WHERE type = 'bid_won' AND price_micros IS NOT NULL AND at_utc <= $as_of
    QUALIFY row_number() OVER (PARTITION BY impression_id ORDER BY position) = 1
),
shown AS (
    -- Told twice under two event ids, an impression counts once: as it was told first.
    SELECT e.position, e.impression_id, e.at_utc, e.weight, e.price_micros / 1e6 AS price,
           n.position AS noticed, n.at_utc AS noticed_at, n.price AS notice_price,
           coalesce(e.charge, d.charge) AS charge, coalesce(e.opportunity, d.opportunity) AS opportunity,
           -- From here on a response is attributed. A decision is known before anything comes of it.
           CASE WHEN e.decided_bid_micros IS NULL AND d.opportunity IS NULL THEN e.position ELSE 0 END AS ready
    FROM events e LEFT JOIN decided d ON d.impression_id = e.impression_id
                  LEFT JOIN notice n ON n.impression_id = e.impression_id
    WHERE e.type = 'impression_served' AND e.at_utc <= $as_of AND coalesce(e.opportunity, d.opportunity) IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY e.impression_id ORDER BY e.position) = 1
),
"""

_RESPONSES = f"""
click AS (
    SELECT e.position, e.at_utc, e.impression_id, e.price_micros / 1e6 AS price,
           row_number() OVER (PARTITION BY e.impression_id ORDER BY e.position) = 1 AS first
    FROM events e JOIN subject s USING (impression_id)
    WHERE e.type = 'click_received' AND e.at_utc <= $as_of AND epoch_us(e.at_utc) - epoch_us(s.at_utc) <= $click_window
),
order_event AS (
    SELECT e.position, e.at_utc, e.impression_id,
           -- Without a name, each event is an order of its own.
           {{'name': e.order_id, 'single': CASE WHEN e.order_id = '' THEN e.event_id END}} AS name,
           e.type <> 'conversion_reported' AS amends,
           (e.type <> 'conversion_retracted')::BIGINT AS conversions, coalesce(e.value_micros, 0) AS micros,
           (e.type <> 'conversion_retracted' AND e.value_micros IS NOT NULL)::BIGINT AS valued
    FROM events e JOIN subject s USING (impression_id)
    WHERE e.type IN {_ORDER_EVENTS} AND e.at_utc <= $as_of
      AND epoch_us(e.at_utc) - epoch_us(s.at_utc) <= $conversion_window
),
telling AS (
    -- Of the restatements and retractions so far the latest, at one instant the one told last; else the first report.
    SELECT position, at_utc, impression_id, name, 1 AS reported, first_value(micros) OVER so_far AS reported_micros,
           first_value(valued) OVER so_far AS reported_valued,
           max({{'at_utc': at_utc, 'position': position, 'conversions': conversions, 'micros': micros, 'valued': valued}})
               FILTER (amends) OVER so_far AS amended
    FROM order_event
    WINDOW so_far AS (PARTITION BY impression_id, name ORDER BY position)
),
held AS (
    SELECT position, at_utc, impression_id, name, coalesce(amended.conversions, reported) AS conversions,
           coalesce(amended.micros, reported_micros) AS micros, coalesce(amended.valued, reported_valued) AS valued
    FROM telling
),
conversion AS (
    -- What each event changes; over all events of an order this adds up to what the order counts for.
    SELECT position, at_utc, impression_id,
           conversions - lag(conversions, 1, 0) OVER told AS conversions, micros - lag(micros, 1, 0) OVER told AS micros,
           valued - lag(valued, 1, 0) OVER told AS valued
    FROM held
    WINDOW told AS (PARTITION BY impression_id, name ORDER BY position)
)
"""

_REPORTED = f"""
reported AS (
    -- A row is known at its own instant; told again under the same name, when the platform told it.
    SELECT position, at_utc, opportunity, impressions, clicks, conversions, coalesce(value_micros, 0) AS value_micros,
           -- The value of a row is that of all its conversions; where none is told, that says nothing of them.
           CASE WHEN value_micros IS NULL THEN 0.0 ELSE conversions END AS valued,
           price_micros, coalesce(nullif(row_id, ''), event_id) AS impression_id,
           CASE WHEN impression_share >= {LEAST_SHARE} THEN impressions ELSE 0 END AS share_impressions,
           CASE WHEN impression_share >= {LEAST_SHARE} THEN impressions / impression_share ELSE 0.0 END AS eligible,
           CASE WHEN abs(quality_score) <= {MOST_SCORE} THEN quality_score * impressions ELSE 0.0 END AS quality_points,
           CASE WHEN abs(quality_score) <= {MOST_SCORE} THEN impressions ELSE 0 END AS quality_impressions,
           budget_micros / 1e6 AS daily_budget,
           list_max((competitors -> '$[*].impressionShare')::DOUBLE[]) AS competitor_share,
           list_max((competitors -> '$[*].overlapRate')::DOUBLE[]) AS competitor_overlap,
           {{'name': row_id, 'single': CASE WHEN row_id = '' THEN event_id END}} AS name,
           CASE WHEN row_number() OVER told = 1 THEN at_utc ELSE greatest(at_utc, known_at_utc) END AS known_at
    FROM events WHERE type = 'campaign_reported'
    WINDOW told AS (PARTITION BY row_id, CASE WHEN row_id = '' THEN event_id END ORDER BY position)
)
"""

OUTCOMES = f"""
{_SHOWN}
subject AS (SELECT * FROM shown WHERE at_utc >= $start AND at_utc < $end),
{_RESPONSES},
{_REPORTED},
clicked AS (SELECT impression_id, count(*) AS clicks, sum(price) AS price FROM click GROUP BY impression_id),
converted AS (
    SELECT impression_id, sum(conversions) AS conversions, sum(micros) / 1e6 AS value, sum(valued) AS valued
    FROM conversion GROUP BY impression_id
),
figures AS (
    SELECT * FROM reported WHERE known_at <= $as_of
    QUALIFY row_number() OVER (PARTITION BY name ORDER BY position DESC) = 1
)
SELECT s.position, s.impression_id, s.at_utc, s.opportunity, s.weight, 1.0 AS impressions,
       CASE WHEN k.clicks > 0 THEN 1.0 ELSE 0.0 END AS clicks,
       coalesce(v.conversions, 0)::DOUBLE AS conversions, coalesce(v.value, 0.0)::DOUBLE AS value,
       coalesce(v.valued, 0)::DOUBLE AS valued,
       CASE WHEN s.price IS NOT NULL OR s.notice_price IS NOT NULL OR k.price IS NOT NULL
            THEN coalesce(s.price, s.notice_price, 0) + coalesce(k.price, 0)
            -- Without a click, an impression that is paid per click costs nothing.
            WHEN s.charge = 'per_click' AND k.clicks IS NULL THEN 0.0
            ELSE 'NaN'::DOUBLE END AS cost
FROM subject s LEFT JOIN clicked k USING (impression_id) LEFT JOIN converted v USING (impression_id)
UNION ALL
SELECT position, impression_id, at_utc, opportunity, 1.0, impressions::DOUBLE, clicks::DOUBLE, conversions::DOUBLE,
       value_micros / 1e6, valued, price_micros / 1e6
FROM figures WHERE at_utc >= $start AND at_utc < $end
ORDER BY at_utc, position
"""
"""What came of what was shown in a range of time, as known at one instant."""

_EARLIER = "ORDER BY known_at_utc RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1 HOUR PRECEDING"
"""Of pulls, those before. What is told within less is one pull, though each file of it has an instant of its own."""

DELAYS = f"""
{_SHOWN}
subject AS (SELECT * FROM shown),
{_RESPONSES},
standing AS (
    -- Orders that count for something after all that was told of them so far.
    SELECT impression_id, name FROM held GROUP BY impression_id, name HAVING arg_max(conversions, position) > 0
),
first_told AS (
    SELECT impression_id, name, min(at_utc) AS at_utc FROM order_event WHERE conversions > 0 GROUP BY impression_id, name
),
clicked AS (SELECT impression_id, min(at_utc) AS at_utc FROM click GROUP BY impression_id),
single AS (
    -- A conversion before the first click came of the impression.
    SELECT s.position, s.opportunity ->> '$.campaign_id' AS campaign, f.at_utc AS told_at, s.weight AS count,
           CASE WHEN k.at_utc <= f.at_utc THEN k.at_utc ELSE s.at_utc END AS at_utc
    FROM first_told f JOIN standing USING (impression_id, name) JOIN subject s USING (impression_id)
         LEFT JOIN clicked k USING (impression_id)
),
telling_of_row AS (
    SELECT position, row_id, campaign_id, at_utc, known_at_utc, (epoch_us(known_at_utc) - epoch_us(at_utc)) / 1e6 AS age,
           -- What a later telling takes back was none.
           min(conversions) OVER (told ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS conversions,
           row_number() OVER told > 1 AS again
    FROM events
    WHERE type = 'campaign_reported' AND row_id <> '' AND known_at_utc <= $as_of AND known_at_utc > at_utc
    WINDOW told AS (PARTITION BY row_id ORDER BY known_at_utc, position)
),
pulled AS (
    -- A pull tells only what is new. Of rows that are young enough to be pulled again, silence says that they gained nothing.
    SELECT *, max(known_at_utc) OVER (PARTITION BY campaign_id {_EARLIER}) AS pulled_before,
           max(age) FILTER (again) OVER ({_EARLIER}) AS reach_before,
           max(age) FILTER (again) OVER () AS reach, max(known_at_utc) OVER () AS pulled_last
    FROM telling_of_row
),
gained AS (
    SELECT position, campaign_id, at_utc, age, conversions - lag(conversions, 1, 0) OVER told AS conversions, reach,
           CASE WHEN again THEN greatest(
               lag(age) OVER told,
               least((epoch_us(coalesce(pulled_before, at_utc)) - epoch_us(at_utc)) / 1e6, coalesce(reach_before, 0))
           ) ELSE 0 END AS age_before,
           greatest(
               max(age) OVER (PARTITION BY row_id), least((epoch_us(pulled_last) - epoch_us(at_utc)) / 1e6, reach)
           ) AS oldest
    FROM pulled WINDOW told AS (PARTITION BY row_id ORDER BY age, position)
)
SELECT position, campaign, at_utc, greatest(epoch_us(told_at) - epoch_us(at_utc), 0) / 1e6 AS earliest, earliest AS latest,
       (epoch_us($as_of::TIMESTAMP) - epoch_us(at_utc)) / 1e6 AS age, count
FROM single
UNION ALL
SELECT position, campaign_id, at_utc, age_before, age, oldest, conversions
-- Where no row was ever told again, silence says nothing.
FROM gained WHERE reach IS NOT NULL AND conversions > 0
ORDER BY at_utc, position, earliest, count
"""
"""How long conversions took, as known at one instant."""

_NOTHING = dict.fromkeys(("impressions", "clicks", "conversions", "value", "cost"), 0.0) | dict(FURTHER)
_WITH_NOTHING = ", ".join(f"coalesce({name}, '{nothing}')::DOUBLE AS {name}" for name, nothing in _NOTHING.items())
_ANYTHING = " OR ".join(
    f"{name} IS NOT NULL" if math.isnan(nothing) else f"coalesce({name}, 0) <> 0" for name, nothing in _NOTHING.items()
)

OBSERVATIONS = f"""
{_SHOWN}
subject AS (
    SELECT ready, impression_id, at_utc, weight, opportunity FROM shown
    UNION ALL
    SELECT 0, impression_id, at_utc, 1.0, opportunity FROM decided
    WHERE impression_id NOT IN (SELECT impression_id FROM shown)
),
{_RESPONSES},
{_REPORTED},
increment AS (
    SELECT position AS known, position, at_utc, opportunity, weight AS impressions,
           coalesce(price, CASE WHEN noticed < position THEN notice_price END, 0) * weight AS cost,
           CASE WHEN charge = 'per_mille' AND opportunity ->> '$.auction' = 'second_price'
                THEN coalesce(price, CASE WHEN noticed < position THEN notice_price END) * 1000 END AS market_price,
           CASE WHEN opportunity ->> '$.budget.currency' = opportunity ->> '$.currency'
                THEN try_cast(opportunity ->> '$.budget.micros' AS BIGINT) / 1e6 END AS daily_budget
    FROM shown
    UNION ALL BY NAME
    SELECT noticed AS known, noticed AS position, noticed_at AS at_utc, opportunity, notice_price * weight AS cost,
           CASE WHEN charge = 'per_mille' AND opportunity ->> '$.auction' = 'second_price'
                THEN notice_price * 1000 END AS market_price
    FROM shown WHERE price IS NULL AND noticed > position
    UNION ALL BY NAME
    SELECT greatest(k.position, s.ready) AS known, k.position, k.at_utc, s.opportunity,
           CASE WHEN k.first THEN s.weight ELSE 0.0 END AS clicks, coalesce(k.price, 0) * s.weight AS cost,
           CASE WHEN s.opportunity ->> '$.charge' = 'per_click' AND s.opportunity ->> '$.auction' = 'second_price'
                THEN k.price END AS market_price
    FROM click k JOIN subject s USING (impression_id)
    UNION ALL BY NAME
    SELECT greatest(v.position, s.ready) AS known, v.position, v.at_utc, s.opportunity,
           v.conversions * s.weight AS conversions, v.micros / 1e6 * s.weight AS value
    FROM conversion v JOIN subject s USING (impression_id)
    UNION ALL BY NAME
    SELECT e.position AS known, e.position, e.at_utc, coalesce(e.opportunity, d.opportunity, s.opportunity) AS opportunity,
           CASE WHEN e.type = 'bid_placed' AND coalesce(e.bid_micros, e.decided_bid_micros) IS NOT NULL THEN 1.0 END AS bids,
           CASE WHEN e.type = 'bid_placed' THEN coalesce(e.bid_micros, e.decided_bid_micros) / 1e6 END AS bid_total,
           CASE WHEN e.type = 'bid_lost' THEN e.price_micros / 1e6 END AS market_price
    FROM events e LEFT JOIN decided d USING (impression_id)
         LEFT JOIN shown s ON s.impression_id = e.impression_id AND s.position < e.position
    WHERE e.type IN ('bid_placed', 'bid_lost') AND coalesce(e.opportunity, d.opportunity, s.opportunity) IS NOT NULL
    UNION ALL BY NAME
    SELECT position AS known, position, known_at AS at_utc, at_utc AS spent_at_utc, opportunity,
           impressions - lag(impressions, 1, 0) OVER told AS impressions, clicks - lag(clicks, 1, 0) OVER told AS clicks,
           conversions - lag(conversions, 1, 0) OVER told AS conversions,
           (value_micros - lag(value_micros, 1, 0) OVER told) / 1e6 AS value,
           (price_micros - lag(price_micros, 1, 0) OVER told) / 1e6 AS cost,
           share_impressions - lag(share_impressions, 1, 0) OVER told AS share_impressions,
           eligible - lag(eligible, 1, 0) OVER told AS eligible_impressions,
           quality_points - lag(quality_points, 1, 0) OVER told AS quality_points,
           quality_impressions - lag(quality_impressions, 1, 0) OVER told AS quality_impressions,
           CASE WHEN row_number() OVER told = 1 THEN daily_budget END AS daily_budget,
           CASE WHEN row_number() OVER told = 1 THEN competitor_share END AS competitor_share,
           CASE WHEN row_number() OVER told = 1 THEN competitor_overlap END AS competitor_overlap
    FROM reported WINDOW told AS (PARTITION BY name ORDER BY position)
)
SELECT known, at_utc, coalesce(spent_at_utc, at_utc) AS spent_at_utc, opportunity, {_WITH_NOTHING}
FROM increment
WHERE at_utc >= $start AND at_utc < $end AND ({_ANYTHING})
-- An increment is known once both the impression and the response are; an impression stands before what waited for it.
ORDER BY known, known <> position, position
"""
"""The increments of what was known in a range of time."""

BIDS = """
WITH told AS (
    SELECT e.position, e.impression_id, e.at_utc, e.weight, e.price_micros, e.bid_micros, e.decided_bid_micros,
           coalesce(e.charge, d.charge) AS charge, coalesce(e.opportunity, d.opportunity) AS opportunity,
           list_position(['impression_served', 'bid_won', 'bid_lost', 'bid_placed'], e.type) AS kind,
           -- Who is believed first: the impression, the win notice, the loss notice, the bid as it was placed; of several
           -- of a kind the one told first. One number, since a pair would take twice the time.
           kind::BIGINT << 56 | e.position AS rank
    FROM events e LEFT JOIN decided d ON d.impression_id = e.impression_id
    WHERE e.type IN ('impression_served', 'bid_won', 'bid_lost', 'bid_placed')
),
bid AS (
    -- One row for each impression; `arg_min` takes what is told, and so does not stop at one who tells nothing.
    SELECT arg_min(position, rank) AS position, arg_min(at_utc, rank) AS at_utc, min(kind) <= 2 AS won,
           arg_min(opportunity, rank) AS opportunity, arg_min(charge, rank) AS charge,
           coalesce(arg_min(weight, rank), 1.0) AS weight,
           coalesce(arg_min(bid_micros, rank), arg_min(decided_bid_micros, rank)) / 1e6 AS bid,
           arg_min(price_micros, rank) FILTER (kind <= 2) / 1e6 AS paid,
           arg_min(price_micros, rank) FILTER (kind = 3) / 1e6 AS market_price
    FROM told GROUP BY impression_id
    HAVING min(kind) <= 3
),
priced AS (
    -- Under second price the winner paid the market price; under first price it paid its own bid. Per mille, the price of
    -- one impression is a thousandth of the unit that bids are in.
    SELECT position, at_utc, opportunity, weight, won, bid, market_price,
           CASE WHEN charge = 'per_mille' THEN paid * 1000 END AS paid,
           opportunity ->> '$.auction' = 'first_price' AS pays_bid
    FROM bid
    WHERE opportunity IS NOT NULL AND at_utc >= $start AND at_utc < $end
)
SELECT at_utc, opportunity, weight, won,
       coalesce(bid, CASE WHEN won AND pays_bid THEN paid END, 'NaN')::DOUBLE AS bid,
       coalesce(CASE WHEN NOT won THEN market_price WHEN NOT pays_bid THEN paid END, 'NaN')::DOUBLE AS price
FROM priced ORDER BY at_utc, position
"""
"""What became of the bids for a range of time: what was bid and what winning cost, as far as either is known."""

HAPPENINGS = """
SELECT position, payload FROM events WHERE payload IS NOT NULL AND at_utc >= $start AND at_utc < $end ORDER BY position
"""
"""What users did and what happened in the market."""

NAMING = """
SELECT payload FROM events WHERE contains(payload, $name) ORDER BY position
"""
"""What users did, as far as it names somebody."""

NAMES = """
SELECT DISTINCT unnest(json_keys(opportunity, $field)) AS name
FROM events WHERE opportunity IS NOT NULL ORDER BY name
"""
"""Names of the entries of a mapping inside the opportunities."""
