"""What came of a decision, and is it final yet.

Events come in one by one and late, and some turn out otherwise later; this room joins clicks and conversions to what was
shown, within the attribution windows, and says which labels may still change.

In: events, and decision records for impressions that carry no opportunity. Out: `Observations`, the increments that the
online features take, and `Outcomes`, the labelled rows that training takes (`bidloop.core.outcome`). And how late
conversions are, so that what is still to come can be counted in.

| word | file |
|---|---|
| Joiner | `joining` |
| an order, its restatements and its retraction | `order` |
| the rows of reports and their restatements | `report_rows` |
| increments in the making | `increments` |
| when a label is mature, and how mature it is until then | `maturity` |
| DelayModel, MaturityCurve | `delay` |
| fit_delay_model | `delay_fit` |
| delays counted against ages | `run_off` |
| DecisionLog, History | `ports` |
| OutcomeSettings | `settings` |
"""
