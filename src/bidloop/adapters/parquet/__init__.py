"""Plug: the history of events in Parquet files, joined by DuckDB into labelled rows.

| word | file |
|---|---|
| `ParquetHistory` | `history` |
| the part files: their names and atomic writing | `parts` |
| events as rows, and the columns of a part | `rows` |
| the joins, as SQL | `joins` |
| the answers of the joins as words of the core | `answers` |
| `Spool`: all that is known, as files to go through | `spool` |
| a person taken out of a part | `erasure` |
"""
