"""Is there still money for this bid?

Budgets stand in a database that all processes share. A process leases a slice of what is left and holds money from it in
memory at each decision; what was spent is booked from the event log. At every moment what is booked, and what may still come of
what was bid, fit into each budget together: a process that is killed costs delivery, never money.

| file | notion |
|---|---|
| `window` | whose money, and over which spell: `Window`, `Windows` |
| `balance` | what stands in a window: `Balance`, `Reserved`, `Charge` |
| `ports` | `Ledger`: what a database of budgets must do |
| `leases` | `Leases`: money at hand, so that no bid waits for the database |
| `books` | what was spent, booked from the event log |
| `caps` | what the settings allow in each window |
| `settings` | the hard caps, and how long money is leased and held |
"""
