"""When history has grown: a training set, candidates, the best on held-out days, a bundle to serve.

In comes the history of outcomes; out goes a model bundle on the shelf and the evidence for it.

| file | what it holds |
|---|---|
| `training_set` | history as labelled rows, split by time, and how late their conversions are |
| `renewal` | fit, judge, choose, bundle |
| `judging` | a candidate calibrated, and what it is worth on held-out days |
| `promise` | intervals of the rates, and how often they held |
| `evidence` | what a renewal did, as plain data |
| `shelf`, `promotions` | the bundles there are, which of them serves, which served before |
| `run`, `logbook`, `code_version` | a training as a run: kept here, and told to a registry |
| `ports` | what a registry must be able to do |
| `unfinished` | one training at a time, and what a killed one left |
| `warm_start` | where each campaign's pacing starts under a new model |
| `settings`, `registry_settings` | how much is held out, what is trained; where runs are recorded |
"""
