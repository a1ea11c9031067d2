"""The way from one version of the tables to the next. `database.open_database` walks it; there is no ini file."""
