"""What a win is worth, and what bid we send.

In come an opportunity, its predicted rates, its bid landscape where one is known, and the state that the bid depends on
(pacing multiplier, what is left of the budget, the cell's last bid, a random draw). Out goes one bid as eight logged
stages, with its propensity, what is expected of it, and reasons. The path from the one to the other is a pure function.
What the budget makes of the day's spending so far is kept beside it, in the pacer.

| file | notion |
|---|---|
| `settings` | objective, targets, budgets and limits |
| `pipeline` | from a prediction to one bid: `Bidder`, `Bid` |
| `stages` | the eight stages in their order, and an opportunity's way through them |
| `value` | what one win is worth under the objective |
| `shading` | the best bid below the value where the winner pays what he bids |
| `scaling` | what the budget and the target's average make of the value |
| `exploration` | the bids of the grid that are tried, and how often |
| `guardrails` | step limit, caps, floors, and what the ledger still affords |
| `consent` | whether the bid may take the place of the one in force |
| `binding` | the stage without which the bid would differ most |
| `expectation` | chance of winning, cost and ROAS at the final bid |
| `reasons` | the log of the bid as an exact sum over rates, values and stages |
| `sentences` | what each stage says to a person |
| `pacing/` | how fast a budget may go |
| `ranges` | what a setting may be |
| `allocation/` | how one budget is best divided over campaigns |
| `ledger/` | whether there is still money for a bid |
| `policies/` | bidding policies that a replay compares |
"""
