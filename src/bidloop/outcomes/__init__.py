"""What came of a decision, and is it final yet.

Events come in one by one and late; this room joins clicks and conversions to what was shown, within the attribution
windows, and says which labels may still change.

In: events, and decision records for impressions that carry no opportunity. Out: `Observations`, the increments that the
online features take, and `Outcomes`, the labelled rows that training takes (`bidloop.core.outcome`).

| word | file |
|---|---|
| Joiner | `joining` |
| when a label is mature | `maturity` |
| DecisionLog, History | `ports` |
| OutcomeSettings | `settings` |
"""
