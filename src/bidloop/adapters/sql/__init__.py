"""Plug: events, quarantine and decisions in one SQLite file, through tables that serve PostgreSQL as well.

| word | file |
|---|---|
| `open_database` | `database` |
| the tables | `tables` |
| the way from one version of the tables to the next | `migrations/` |
| `SqlEventLog` | `event_log` |
| `SqlQuarantine` | `quarantine` |
| `SqlDecisionLog` | `decision_log` |
"""
