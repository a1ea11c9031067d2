"""When history has grown: a training set, candidates, the best on held-out days, a bundle to serve.

In comes the history of outcomes; out goes a model bundle on the shelf and the evidence for it.

| file | what it holds |
|---|---|
| `training_set` | history as labelled rows, split by time |
| `renewal` | fit, calibrate, judge, choose, bundle |
| `shelf` | the bundles there are, and which of them serves |
| `warm_start` | where each campaign's pacing starts under a new model |
| `settings` | how much is held out, what is trained |
"""
