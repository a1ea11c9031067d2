"""What did we know of this opportunity at this instant?

Comes in: opportunities, observations of ads (increments of impressions, clicks, conversions, each with its time), and
events of users and of the market. Goes out: a `FeatureTable`, one row per opportunity, with nothing in it that was learned at
or after that row's own instant. One definition, a `FeatureView`, serves both roads: the stores that answer while traffic
runs, and the point-in-time tables that models are trained on. How the past adds up is written apart for each, and a law holds
them to the same values.

| notion | file |
|---|---|
| what a feature is: `FeatureView`, `CategoryFeature`, `MeasureFeature`, `RateFeature` | `view` |
| further kinds: `Total`, `Ratio`, `Quantile`, `Latest`, `Recency`, …, and the `Entity` they speak of | `signals` |
| what events add up to: `Amount`, `AD_AMOUNTS` | `amounts` |
| ready-made views: `campaign_view`, `display_view` | `views` |
| ready-made signals of campaigns, users, calendar and market | `signal_sets` |
| where a value is found in an opportunity: `column` | `source` |
| hour, weekday and part of day in the account's timezone | `local_time` |
| public holidays | `holidays` |
| what an opportunity says by itself: categories, time, measures | `described` |
| what a view needs to be kept, column by column: `Plan`; how it is made: `plan_of` | `plan`, `planning` |
| which entities an opportunity belongs to: `entity_keys` | `keys` |
| what became known, as what it adds and for whom: `contributions` | `contributions` |
| what is known of one entity at one instant, and how it goes on | `state` |
| from states to features: `feature_table` | `values` |
| every fact of one entity | `memory` |
| values now: `InProcessStore` | `online` |
| values at any past instant, for training: `point_in_time` | `training` |
| decayed running sums of many keys at once | `scan` |
| which increments make sense: `check_increments` | `increments` |
| which cell an opportunity belongs to: `cell_keys` | `cells` |
| features of one's own, from a file | `definitions` |
| which features a model looks at, and where their values are kept | `settings` |
| every view that was ever used, by version: `Catalogue` | `catalogue` |
| one feature in words: `describe_feature`, and its formula | `cards`, `formulas` |
| from events to features: `lineage` | `lineage` |
| values that are missing or make no sense: `FeatureHealth`, and what to think of them | `health`, `verdicts` |
| what the loop asks of a store of features: `OnlineStore` | `ports` |
| the derived figures of one report row: `engineer`, `normalise` | `engineered` |
"""
