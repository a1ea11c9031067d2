"""Plug: tells an OpenLineage server, or a file, where features, models and decisions come from.

An extra: ``pip install bidloop[lineage]``. Nothing is sent unless a target is named.

| word | file |
|---|---|
| where events go: `LineageSender` | `sender` |
| events, features, models and decisions as data sets with columns | `datasets` |
| the jobs between them | `jobs` |
| one training run: `emit_run` | `runs` |
"""
