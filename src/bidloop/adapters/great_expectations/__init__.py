"""Plug: looks at a campaign report as a whole with Great Expectations before any of it is taken in.

An extra: ``pip install bidloop[expectations]``.

| word | file |
|---|---|
| `GreatExpectationsGate` | `batch_gate` |
| the expectations | `suite` |
"""
