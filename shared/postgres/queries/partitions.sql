-- Partitions of the tables whose rows expire. `shared/postgres/partitions.py` fills in the names in braces: names of
-- tables and bounds of partitions can't be parameters.

-- name: select_time
-- Returns the time of Postgres' clock.
SELECT now() AS now;

-- name: lock_partition_work
-- Makes processes that maintain partitions at the same time take turns, step by step.
SELECT pg_advisory_xact_lock(%(key)s);

-- name: select_partitions
-- Returns a table's partitions and their bounds, the oldest first, without the default one. An open end is the lowest or
-- highest bigint.
SELECT name,
       coalesce((regexp_match(bounds, 'FROM \(''(-?\d+)''\)'))[1]::bigint, -9223372036854775808) AS low,
       coalesce((regexp_match(bounds, 'TO \(''(-?\d+)''\)'))[1]::bigint, 9223372036854775807) AS high
FROM (
    SELECT relname AS name, pg_get_expr(relpartbound, pg_class.oid) AS bounds
    FROM pg_inherits
    JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = %(table)s::regclass
) AS partition
WHERE bounds <> 'DEFAULT'
ORDER BY low;

-- name: count_strays
-- Counts the rows of a range that are in the default partition, up to `limit`.
SELECT count(*) AS strays
FROM (SELECT FROM {default} WHERE version >= {low} AND version < {high} LIMIT {limit}) AS stray;

-- name: create_partition
-- Creates a table like the parent, not yet attached to it.
CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);

-- name: lock_table
-- Locks out writers until the transaction ends. They reach partitions through the parent, so these need no locks.
LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE;

-- name: move_strays
-- Moves the rows of a range from the default partition.
WITH moved AS (
    DELETE FROM {default} WHERE version >= {low} AND version < {high} RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved;

-- name: attach_partition
-- Attaches a partition. Writes to the parent go on; only the default partition is locked, and scanned once.
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({low}) TO ({high});

-- name: drop_partition
-- Drops a partition: a change of the catalogue, however many rows it has. It locks the parent first, as writers do, so
-- that they can't deadlock.
DROP TABLE {partition};

-- name: delete_old_rows
-- Deletes up to `limit` rows of the default partition that are older than a version.
DELETE FROM {default}
WHERE ctid = ANY (ARRAY(SELECT ctid FROM {default} WHERE version < {version} LIMIT {limit}));
