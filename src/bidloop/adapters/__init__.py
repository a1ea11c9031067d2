"""One folder per platform; nothing else names a platform.

A file inside an adapter carries the name of the port it implements, so ``ls adapters/*/event_log.py`` answers "where
can events live?". Adapters do not import each other.

| adapter | what it is |
|---|---|
| `sql` | plug: event log, quarantine and decision log in SQLite or PostgreSQL |
| `parquet` | plug: the history in Parquet files, joined by DuckDB |
| `memory` | plug: event stream, event log and quarantine in memory |
| `redis` | plug: the event stream on Redis Streams, and features that processes share |
| `feast` | plug: features in Feast, online and historical |
| `ibis` | plug: features of the past by one expression on DuckDB, PostgreSQL or Spark |
| `mlflow` | plug: runs and model versions in MLflow |
| `openlineage` | plug: tells where features and models come from |
| `ndjson` | plug: reads events as senders tell them, one JSON object a line |
| `great_expectations` | plug: examines a report as a whole before it is taken in |
| `ipinyou` | plug: reads the iPinYou bidding log, season 2 |
| `campaign_report` | plug: reads campaign reports, CSV or Parquet |
| `rlb` | plug: reads the RLB bidding benchmark |
"""
