"""Plug: event stream, event log and quarantine in the memory of one process, for tests, simulations and trials.

| word | file |
|---|---|
| `MemoryEventStream` | `event_stream` |
| `MemoryEventLog` | `event_log` |
| `MemoryQuarantine` | `quarantine` |
"""
