"""How fast may a budget go?

| file | notion |
|---|---|
| `settings` | how the multiplier moves |
| `traffic` | which share of a day's and of a week's traffic comes when |
| `pacer` | the budget's multiplier, moved through the day by what was spent |
| `dual` | the multiplier that past auctions say a budget needs |
| `targets` | the multiplier that an average CPA or ROAS target allows |
| `horizon` | what a month's or a flight's budget gives to one day |
| `forecast` | what will have been spent by the end of the day |
| `month_forecast` | what will have been spent by the end of the month or the flight |
"""
