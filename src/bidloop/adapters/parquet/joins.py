"""The joins of the history, in DuckDB's SQL.

They read a view `events` (columns in `parts.SCHEMA`) and a table `decided` (impression_id, at_utc, opportunity) of
impressions that were never told of but whose decision is known. The rules are those of `bidloop.outcomes.joining`, and
a test holds the two against each other.
"""

from __future__ import annotations

UNTOLD = """
SELECT DISTINCT impression_id FROM events
WHERE type IN ('click_received', 'conversion_reported', 'impression_served')
GROUP BY impression_id
HAVING count(*) FILTER (type = 'impression_served' AND opportunity IS NOT NULL) = 0
"""
"""Impressions whose opportunity the events do not tell."""

_SHOWN = """
WITH shown AS (
    -- Told twice under two event ids, an impression counts once: as it was told first.
    SELECT e.position, e.impression_id, e.at_utc, e.weight, e.price_micros / 1e6 AS price, e.bid_micros / 1e6 AS bid,
           coalesce(e.charge, d.charge) AS charge, coalesce(e.opportunity, d.opportunity) AS opportunity
    FROM events e LEFT JOIN decided d USING (impression_id)
    WHERE e.type = 'impression_served' AND e.at_utc <= $as_of AND coalesce(e.opportunity, d.opportunity) IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY e.impression_id ORDER BY e.position) = 1
),
"""

_RESPONSES = """
click AS (
    SELECT e.position, e.at_utc, e.impression_id, e.price_micros / 1e6 AS price,
           row_number() OVER (PARTITION BY e.impression_id ORDER BY e.position) = 1 AS first
    FROM events e JOIN subject s USING (impression_id)
    WHERE e.type = 'click_received' AND e.at_utc <= $as_of AND epoch_us(e.at_utc) - epoch_us(s.at_utc) <= $click_window
),
conversion AS (
    SELECT e.position, e.at_utc, e.impression_id, coalesce(e.value_micros / 1e6, 0) AS value
    FROM events e JOIN subject s USING (impression_id)
    WHERE e.type = 'conversion_reported' AND e.at_utc <= $as_of
      AND epoch_us(e.at_utc) - epoch_us(s.at_utc) <= $conversion_window
    QUALIFY row_number() OVER (
        PARTITION BY e.impression_id, e.order_id, CASE WHEN e.order_id = '' THEN e.event_id END
        ORDER BY e.position
    ) = 1
)
"""

OUTCOMES = f"""
{_SHOWN}
subject AS (SELECT * FROM shown WHERE at_utc >= $start AND at_utc < $end),
{_RESPONSES},
clicked AS (SELECT impression_id, count(*) AS clicks, sum(price) AS price FROM click GROUP BY impression_id),
converted AS (
    SELECT impression_id, count(*) AS conversions, sum(value ORDER BY position) AS value
    FROM conversion GROUP BY impression_id
)
SELECT s.position, s.impression_id, s.at_utc, s.opportunity, s.weight, 1.0 AS impressions,
       CASE WHEN k.clicks > 0 THEN 1.0 ELSE 0.0 END AS clicks,
       coalesce(v.conversions, 0)::DOUBLE AS conversions, coalesce(v.value, 0.0)::DOUBLE AS value,
       CASE WHEN s.price IS NOT NULL OR k.price IS NOT NULL THEN coalesce(s.price, 0) + coalesce(k.price, 0)
            -- Without a click, an impression that is paid per click costs nothing.
            WHEN s.charge = 'per_click' AND k.clicks IS NULL THEN 0.0
            ELSE 'NaN'::DOUBLE END AS cost
FROM subject s LEFT JOIN clicked k USING (impression_id) LEFT JOIN converted v USING (impression_id)
UNION ALL
SELECT position, event_id, at_utc, opportunity, 1.0, impressions::DOUBLE, clicks::DOUBLE, conversions::DOUBLE,
       coalesce(value_micros / 1e6, 0.0), price_micros / 1e6
FROM events WHERE type = 'campaign_reported' AND at_utc >= $start AND at_utc < $end AND at_utc <= $as_of
ORDER BY at_utc, position
"""
"""What came of what was shown in a range of time, as known at one instant."""

OBSERVATIONS = f"""
{_SHOWN}
subject AS (
    SELECT position, impression_id, at_utc, weight, opportunity FROM shown
    UNION ALL
    SELECT 0, impression_id, at_utc, 1.0, opportunity FROM decided
    WHERE impression_id NOT IN (SELECT impression_id FROM shown)
),
{_RESPONSES},
increment AS (
    SELECT position AS known, position, at_utc, opportunity, weight AS impressions, 0.0 AS clicks, 0.0 AS conversions,
           0.0 AS value, coalesce(price, 0) * weight AS cost
    FROM shown
    UNION ALL
    SELECT greatest(k.position, s.position), k.position, k.at_utc, s.opportunity, 0.0,
           CASE WHEN k.first THEN s.weight ELSE 0.0 END, 0.0, 0.0, coalesce(k.price, 0) * s.weight
    FROM click k JOIN subject s USING (impression_id)
    WHERE k.first OR k.price > 0
    UNION ALL
    SELECT greatest(v.position, s.position), v.position, v.at_utc, s.opportunity, 0.0, 0.0, s.weight,
           v.value * s.weight, 0.0
    FROM conversion v JOIN subject s USING (impression_id)
    UNION ALL
    SELECT position, position, at_utc, opportunity, impressions, clicks, conversions, coalesce(value_micros / 1e6, 0),
           price_micros / 1e6
    FROM events WHERE type = 'campaign_reported'
)
SELECT at_utc, opportunity, impressions::DOUBLE AS impressions, clicks::DOUBLE AS clicks,
       conversions::DOUBLE AS conversions, value::DOUBLE AS value, cost::DOUBLE AS cost
FROM increment WHERE at_utc >= $start AND at_utc < $end
-- An increment is known once both the impression and the response are; an impression stands before what waited for it.
ORDER BY known, known <> position OR impressions = 0, position
"""
"""The increments of what was known in a range of time."""

BIDS = f"""
{_SHOWN}
won AS (
    SELECT position, at_utc, opportunity, weight, true AS won, bid,
           -- Under second price the winner paid the market price; under first price it paid its own bid. Per mille, the
           -- price of one impression is a thousandth of the unit that bids are in.
           CASE WHEN charge = 'per_mille' THEN price * 1000 END AS paid,
           opportunity ->> '$.auction' = 'first_price' AS pays_bid
    FROM shown
)
SELECT position, at_utc, opportunity, weight, won,
       coalesce(bid, CASE WHEN pays_bid THEN paid END, 'NaN')::DOUBLE AS bid,
       coalesce(CASE WHEN NOT pays_bid THEN paid END, 'NaN')::DOUBLE AS price
FROM won WHERE at_utc >= $start AND at_utc < $end
UNION ALL
SELECT position, at_utc, opportunity, 1.0, false, coalesce(bid_micros / 1e6, 'NaN')::DOUBLE,
       coalesce(price_micros / 1e6, 'NaN')::DOUBLE
FROM events WHERE type = 'bid_lost' AND opportunity IS NOT NULL AND at_utc >= $start AND at_utc < $end
ORDER BY at_utc, position
"""
"""What became of the bids for a range of time: what was bid and what winning cost, as far as either is known."""

NAMES = """
SELECT DISTINCT unnest(json_keys(opportunity, $field)) AS name
FROM events WHERE opportunity IS NOT NULL ORDER BY name
"""
"""Names of the entries of a mapping inside the opportunities."""
