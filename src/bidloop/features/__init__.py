"""What did we know of this opportunity at this instant?

Comes in: opportunities, and observations (increments of impressions, clicks and conversions, each with its time).
Goes out: a `FeatureTable`, one row per opportunity, with nothing in it that was learned at or after that row's own
instant. One definition, a `FeatureView`, serves both roads: the store that answers while traffic runs, and the
point-in-time table that models are trained on. The two are written separately and a law holds them to the same
values.

| notion | file |
|---|---|
| what a feature is: `FeatureView`, `CategoryFeature`, `MeasureFeature`, `RateFeature` | `view` |
| ready-made views: `campaign_view`, `display_view` | `views` |
| where a value is found in an opportunity: `column` | `source` |
| hour, weekday and part of day in the account's timezone | `local_time` |
| what an opportunity says by itself: categories, time, measures | `facts` |
| what may be observed: `check_increments` | `increments` |
| counts that fade with time, for one key | `decay` |
| values now: `InProcessStore` | `online` |
| values at any past instant, for training: `point_in_time` | `training` |
| decayed running sums of many keys at once | `scan` |
| which cell an opportunity belongs to: `cell_keys` | `cells` |
| what the loop asks of a store of features: `OnlineStore` | `ports` |
| the derived figures of one report row: `engineer`, `normalise` | `engineered` |
"""
