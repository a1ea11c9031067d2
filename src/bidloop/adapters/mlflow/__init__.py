"""Plug: runs and model versions in MLflow, in a SQLite file or on a server.

MLflow is asked as one client among others: nothing of it is switched on for the process, no model flavour is used, no pickle is
written, and it sends no telemetry. A version's artifact is the bundle as it lies on the shelf.

| word | file |
|---|---|
| implements `bidloop.retraining.ports.Registry`: `MlflowRegistry` | `registry` |
| opening a store: which one, quietly, and whether it answers | `connection` |
| what MLflow's errors mean here | `answering` |
| a run as MLflow's parameters, metrics, tags and description | `description` |
| writing it: `Recorder` | `recording` |
| its plots: `draw` | `figures` |
| MLflow's own pages in the browser: `ui_command` | `ui` |
"""
