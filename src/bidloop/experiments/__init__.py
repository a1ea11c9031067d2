"""Would another way of bidding have done better?

Comes in: logged auctions with their market prices and what came of them (`Auctions`), budgets and the spells they are
for (`Periods`), and policies. Goes out: what each policy would have bought (`Tally`), beside its peers on the same
auctions.

| notion | file |
|---|---|
| the logged auctions, column by column: `Auctions`, `Objective` | `auctions` |
| the spells that a budget is for: `Periods`, `episodes`, `campaign_days` | `periods` |
| what a policy must answer: `FixedBids`, `AdaptiveBids`, `Foresight` | `ports` |
| what a policy would have won: `replay`, `purchases` | `replay` |
| what was bought, and what it was good for: `Tally` | `tally` |
| the best of several settings of a policy: `best_setting` | `tuning` |
| many policies at many budgets, and which of two is better: `run`, `compare` | `rtb_benchmark` |
"""
