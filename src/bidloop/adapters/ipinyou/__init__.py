"""Plug: reads the iPinYou real-time-bidding log (season 2, June 2013), a sample of impressions with all clicks.

| word | file |
|---|---|
| `read_events`, `find_days` | `reader` |
| `sampling_weights` | `sampling` |
| `ipinyou_view` | `view` |
"""
