-- Partitions of the tables that go by age. Names in braces are filled in by `shared/postgres/partitions.py`: a table's name and a
-- partition's bounds can't be parameters.

-- name: select_time
-- What Postgres' clock says.
SELECT now() AS now;

-- name: hurry
-- For a transaction that takes strong locks: whoever writes would queue behind it while it waits for one.
SELECT set_config('lock_timeout', '1s', true), set_config('statement_timeout', '2s', true);

-- name: take_turns
-- Two that look after partitions at once go on one after the other, step by step.
SELECT pg_advisory_xact_lock(%(key)s);

-- name: select_partitions
-- What a table's partitions cover, the oldest first; the default one is left out. Open ends are as far as a bigint goes.
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
-- How many rows of a range fell into the default partition; counts no further than `limit`.
SELECT count(*) AS strays
FROM (SELECT FROM {default} WHERE version >= {low} AND version < {high} LIMIT {limit}) AS stray;

-- name: create_partition
-- A table like the parent, not yet part of it.
CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);

-- name: lock_table
-- Keeps writers out until the transaction ends. Its partitions are reached through it, and need no lock of their own.
LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE;

-- name: move_strays
-- Takes the rows of a range out of the default partition.
WITH moved AS (
    DELETE FROM {default} WHERE version >= {low} AND version < {high} RETURNING *
)
INSERT INTO {partition} SELECT * FROM moved;

-- name: attach_partition
-- Makes it part of the parent, past which writes go on; only the default partition is locked, and read once.
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({low}) TO ({high});

-- name: drop_partition
-- Takes it away with all that is in it: a change of the catalogue, however many rows there are. It locks the table
-- first, as those do who write, so that they can't deadlock.
DROP TABLE {partition};

-- name: delete_old_rows
-- Some of the rows of the default partition that are older than a version.
DELETE FROM {default}
WHERE ctid = ANY (ARRAY(SELECT ctid FROM {default} WHERE version < {version} LIMIT {limit}));
