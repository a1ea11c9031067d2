"""Plug: the history of events in Parquet files, joined by DuckDB into labelled rows.

| word | file |
|---|---|
| `ParquetHistory` | `history` |
| the part files: their columns, names and atomic writing | `parts` |
| the joins, as SQL | `joins` |
"""
