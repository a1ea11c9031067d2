"""Plug: Bidloop's features in Feast, with the same numbers, and a team's own Feast features beside them.

Comes in: a `FeatureView` of ours, and what becomes known (observations of ads, events of users and of the market). Goes out:
Feast objects in a registry, what is known of each entity in Feast's online store and in Parquet files, and `FeatureTable`s
that Feast computed of it, now or as of any past instant.

Feast keeps *states* (`bidloop.features.state`): per entity one row of what its past adds up to. One on-demand feature view turns
them into values at the very microsecond that is asked, by the code that all other stores call, so that no value goes stale
between two writes.

| notion | file |
|---|---|
| what things are called in Feast | `naming` |
| the columns of a state, and a state as such columns | `columns` |
| the Feast objects of a view: entities, feature views, push sources, the on-demand feature view | `objects` |
| from states to values, inside Feast: `feature_values` | `on_demand` |
| what is asked of Feast, and its answer as a table | `questions` |
| facts of one step of time put together | `steps` |
| every state that ever was, as Parquet files: `write_history` | `history` |
| Feast's offline store, with a join that does not pair everything with everything: `AsofOfflineStore` | `offline_store` |
| registry and stores in one folder: `FeastRepository` | `repository` |
| values now, implements `bidloop.features.ports.OnlineStore`: `FeastStore` | `store` |
| Feast's metrics, kept from changing those of the process | `metrics` |
| a Redis that does not answer | `answering` |
| features of views that Bidloop does not define: `team_columns` | `team_features` |
| a person taken out of Feast's stores | `erasure` |
"""

import importlib

# Loaded before Feast, and not used: see `metrics`.
importlib.import_module("prometheus_client")
