"""The words that two rooms say to each other.

| word | file |
|---|---|
| Opportunity, Auction, Charge, History | `opportunity` |
| Event, and what every event has in common | `event`, `happening` |
| what happened to ads, what users did, what happened in the market around | `advertising`, `behaviour`, `market` |
| Outcomes, Observations, BidOutcomes | `outcome` |
| FeatureVector, FeatureTable | `feature_table` |
| Examples | `examples` |
| Encoding | `encoding` |
| TrainedModel, TrainedLandscape | `trained_model` |
| Prediction, Interval, Attribution, POOLED | `prediction` |
| Landscape | `landscape` |
| Decision, BidState, BidStage, Expectation | `decision` |
| Money | `money` |
| Clock, and the account's calendar day | `clock`, `local_day` |
| the error tree | `errors` |

A thing belongs here when two steps must say it to each other, not when two steps could share it.
"""
