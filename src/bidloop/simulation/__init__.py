"""What would have happened? A small world of auctions and users with known truth, and logs that are met again.

In go the settings of a world, or the events of a real log. Out come opportunities, batch by batch, and the events that
follow from the bids: impressions, lost bids, clicks, and conversions that arrive late. The same `Loop` that serves
production decides. Because every auction's price, click and conversion are fixed by the seed, all policies meet the
same market, and what they won can be compared auction by auction.

| file | what it holds |
|---|---|
| `settings` | WorldSettings, Drift, Outage: what the world is like |
| `randomness` | one stream of random numbers per purpose |
| `names` | campaigns, ad groups, keywords, devices and locations, as names and as numbers |
| `calendar` | days, hours and weekdays in the account's timezone |
| `traffic` | who searches for what, where, when and on which device |
| `log_odds` | the truth behind clicks and conversions: effects and interactions on the log odds |
| `rates` | the true rates, with users and drifts |
| `prices` | what the competitors bid, and the floors |
| `potential` | what winning each auction would cost and bring |
| `world` | World: the truth of any day, true rates, budgets |
| `market_day` | one day of a market, and what became of the bids |
| `auction_market` | AuctionMarket: takes bids, tells what came of them, keeps count |
| `market` | SimulatedMarket: days of a world as a market |
| `account_past` | what the account did before: flat, jittered bids over the first days |
| `logged_market` | LoggedMarket: the same market over the events of a real log |
| `missing_prices` | prices for logged clicks that have none |
| `run` | run: a loop through a market, from the first batch to the last |
| `ports` | Decider: what a loop must be able to do to be run |
"""
