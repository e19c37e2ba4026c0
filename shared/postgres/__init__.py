"""Postgres: connections, migrations, partitions, queries."""
