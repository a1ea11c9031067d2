"""Plug: the past at any instant for millions of rows, as one Ibis expression that DuckDB, PostgreSQL and Spark run alike.

An extra: ``pip install bidloop[ibis]``. For rows at hand in memory there is `bidloop.features.training.point_in_time`; a law
holds the two to the same values.

| word | file |
|---|---|
| the tables of facts and questions | `tables` |
| the expression: facts and questions to states | `states` |
| as SQL, and run by DuckDB over files | `engine` |
| states to rows of features | `rows` |
| `write_backfill`: all of it | `backfill` |
"""
