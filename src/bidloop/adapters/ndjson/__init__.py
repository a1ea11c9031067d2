"""Plug: reads files of events as senders tell them, one JSON object a line.

| word | file |
|---|---|
| `read_told` | `reader` |
"""
