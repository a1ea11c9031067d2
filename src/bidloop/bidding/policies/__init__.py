"""How should a bid follow from what an impression is worth, when a budget must last?

Comes in: what an impression (or a click) is expected to bring, and for a policy that adapts the rest of the budget
and what became of its own bids. Goes out: a bid in the unit of the price. One policy per file, the published ones
beside ours, so that they can be compared on one log (`bidloop.experiments.replay`).

| policy | what it bids | file |
|---|---|---|
| `Constant` | the same for everything | `constant` |
| `Linear` | in proportion to the worth, one factor | `linear` |
| `MaxCostPerClick` | what a click has cost before × P(click) | `mcpc` |
| `ValueTable` | from the value of the budget by auctions and money left (RLB) | `rlb` |
| `AdaptiveDual` | worth × a multiplier that makes the rest of the budget last (ours) | `adaptive_dual` |
| `PerfectPrices`, `PerfectForesight` | choose with every price, or every outcome, known: the ceilings | `hindsight` |

What `AdaptiveDual` knows of prices is in `spend_curve`: it sees the price of what it won and nothing but the loss of
what it lost, as a bidder does.
"""
