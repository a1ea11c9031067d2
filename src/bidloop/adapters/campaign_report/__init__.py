"""Plug: reads campaign reports, one row per cell and period, from CSV or Parquet, whatever their columns are called.

| word | file |
|---|---|
| `read_report` | `reader` |
| `ColumnMapping`, `load_mapping`, `guess_mapping`, `spec`, `display_campaign_report` | `mapping` |
| rows of a file, as text | `rows` |
| numbers and dates from text | `cells` |
"""
