"""What happened, as far as we have been told.

Typed events come in, from a source's reader or from the API; each is checked, known again by its id, and kept in an
append-only log. What makes no sense is kept aside with its reason and counted, never dropped and never repaired.

In: `Event` (`bidloop.core.event`) and `Rejected` rows of a reader. Out: the log, in the order in which it was told.

| word | file |
|---|---|
| Intake, Receipt | `intake` |
| the checks of one event | `validation` |
| Rejected, and how a row becomes one | `rejected` |
| EventLog, Appended, Quarantine | `ports` |
| EventSettings | `settings` |
"""
