"""How fast may a budget go?

| file | notion |
|---|---|
| `settings` | how the multiplier moves |
| `traffic` | which share of a day's traffic comes by when |
| `pacer` | the budget's multiplier, moved through the day by what was spent |
| `dual` | the multiplier that past auctions say a budget needs |
"""
