"""How one budget is best divided over campaigns, and what holds it back.

In come what each campaign spent and brought day by day, a budget per day, and what the user demands of the division. Out goes
an amount per campaign that adds up to the budget to the micro, with what it is expected to bring, how sure that is, and
which demand costs how much. Nothing here is called while bids are served.

| file | notion |
|---|---|
| `days` | spend and outcome by campaign and day: `CampaignDays` |
| `shapes` | the shapes of a response curve |
| `response` | a campaign's response to its spend, as curves that are each as likely: `ResponseCurve` |
| `fit` | learns the curves, pooled over campaigns |
| `posterior` | the normal approximation that the curves are drawn from |
| `choice` | how much each shape is believed, by how well it predicts held-out days |
| `constraints` | bounds of campaigns and groups, each with a name: `Constraints`, `Limit` |
| `feasibility` | which constraints contradict each other |
| `program` | the convex program and the price of each constraint |
| `rounding` | whole micros that keep every constraint |
| `allocation` | from a budget to what each campaign gets: `allocate`, `Allocation` |
| `sentences` | what it says, for a person |
| `settings` | how curves are learned, risk, and what money must bring |
"""
