-- What the operators' pages ask, about all connectors at once.

-- fragment: traffic_sums
-- The code that refused most is the second of the greatest pair: no sort of all rows.
coalesce(sum(submissions), 0)::bigint AS submissions, coalesce(sum(items), 0)::bigint AS items,
coalesce(sum(bytes), 0)::bigint AS bytes, max(lag_ms) AS lag_ms,
coalesce(sum(refused) FILTER (WHERE code = ''), 0)::bigint AS refused,
(max(ARRAY[lpad(refused::text, 19, '0'), code]) FILTER (WHERE code <> ''))[2] AS top_code

-- name: sum_traffic_by_connector
-- What each connector sent from an hour on, and the code that refused most of it.
SELECT connector_id,
-- include: traffic_sums
FROM traffic_hours
WHERE version >= %(since)s
GROUP BY connector_id;

-- name: sum_traffic_of_connector
-- The same of one connector, from a minute on.
SELECT
-- include: traffic_sums
FROM traffic_minutes
WHERE connector_id = %(connector_id)s AND version >= %(since)s;

-- name: count_dead_by_connector
-- How many dead letters each connector has.
SELECT connector_id, count(*) AS letters FROM dead_letters GROUP BY connector_id;

-- name: count_dead_of_connector
-- How many dead letters one connector has.
SELECT count(*) AS letters FROM dead_letters WHERE connector_id = %(connector_id)s;

-- name: select_minutes_of
-- The items of some connectors by the minute, from a version on.
SELECT connector_id, version, items
FROM traffic_minutes
WHERE connector_id = ANY (%(connector_ids)s::bigint[]) AND version >= %(since)s AND code = '';

-- name: select_streams_up_to
-- Streams of a connector with their number of items, and when one last changed; of a stream with more than `most`, both
-- are null: counting would read all of it. The streams are found in the index, one look for each.
WITH RECURSIVE streams AS (
    (SELECT stream FROM items WHERE connector_id = %(connector_id)s ORDER BY stream LIMIT 1)
    UNION ALL
    SELECT (
        SELECT items.stream
        FROM items
        WHERE connector_id = %(connector_id)s AND items.stream > streams.stream
        ORDER BY items.stream
        LIMIT 1
    )
    FROM streams
    WHERE stream IS NOT NULL
)
SELECT stream, CASE WHEN items <= %(most)s THEN items END AS items,
       CASE WHEN items <= %(most)s THEN last_updated_at END AS last_updated_at
FROM streams,
LATERAL (
    SELECT count(*) AS items, max(updated_at) AS last_updated_at
    FROM (
        SELECT updated_at
        FROM items
        WHERE connector_id = %(connector_id)s AND items.stream = streams.stream
        LIMIT %(most)s + 1
    ) AS chosen
) AS counted
WHERE stream IS NOT NULL
ORDER BY stream
LIMIT %(streams)s;

-- name: find_items
-- Items of an id, whatever connector and stream they are of: each stream is looked up in the index.
WITH RECURSIVE streams AS (
    (SELECT connector_id, stream FROM items ORDER BY connector_id, stream LIMIT 1)
    UNION ALL
    SELECT further.connector_id, further.stream
    FROM streams,
    LATERAL (
        SELECT items.connector_id, items.stream
        FROM items
        WHERE (items.connector_id, items.stream) > (streams.connector_id, streams.stream)
        ORDER BY items.connector_id, items.stream
        LIMIT 1
    ) AS further
)
SELECT connector_id, connectors.name AS connector, stream, id, items.name, least(updated_at, now()) AS updated_at
FROM streams
JOIN items USING (connector_id, stream)
JOIN connectors USING (connector_id)
WHERE id = %(id)s
LIMIT 50;

-- name: find_key
-- The connector that a key or hook is, or was.
SELECT connector_id, connectors.name, 'credential' AS kind, key_id, enabled,
       null AS reason, null::timestamptz AS ended_at
FROM credentials
JOIN connectors USING (connector_id)
WHERE key_id = %(key_id)s
UNION ALL
SELECT connector_id, connectors.name, 'hook', hook_id, hooks.enabled AND connectors.enabled, null, null
FROM hooks
JOIN connectors USING (connector_id)
WHERE hook_id = %(key_id)s
UNION ALL
SELECT connector_id, connectors.name, 'former key', key_id, false, reason, ended_at
FROM former_keys
LEFT JOIN connectors USING (connector_id)
WHERE key_id = %(key_id)s;

-- name: find_refusal
-- The refusal of a request.
SELECT at, request_id, connector_id, key_id, reason, route, stream, code, path, message, "limit", observed, skipped
FROM refusals
WHERE request_id = %(request_id)s;

-- name: select_newest_outcomes
-- What became of submissions lately: applied ones and dead letters, the latest first.
SELECT * FROM (
    SELECT connector_id, version, lane, kind, received, applied_at AS at,
           CASE WHEN superseded > 0 THEN 'superseded' ELSE 'applied' END AS outcome, superseded, removed, null AS reason
    FROM receipts
    WHERE version >= %(since)s AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
    ORDER BY version DESC
    LIMIT %(limit)s
) AS applied
UNION ALL
SELECT * FROM (
    SELECT connector_id, version, lane, meta ->> 'kind', received, died_at, 'dead', 0, 0, reason
    FROM dead_letters
    WHERE version >= %(since)s AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
    ORDER BY version DESC
    LIMIT %(limit)s
) AS dead
ORDER BY at DESC
LIMIT %(limit)s;

-- name: describe_postgres
-- The server, what it holds, and what waits in it.
SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS is_standby,
       pg_database_size(current_database()) AS bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()) AS connections,
       current_setting('max_connections')::int AS most_connections,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock') AS waiting,
       (SELECT max(name) FROM schema_migrations) AS migration;

-- name: describe_tables
-- The large tables: estimated rows, size, and their partitions.
SELECT parents.relname AS name, count(parts.oid) AS partitions,
       sum(greatest(coalesce(parts.reltuples, parents.reltuples), 0))::bigint AS rows,
       sum(pg_total_relation_size(coalesce(parts.oid, parents.oid)))::bigint AS bytes
FROM pg_class AS parents
LEFT JOIN pg_inherits ON inhparent = parents.oid
LEFT JOIN pg_class AS parts ON parts.oid = inhrelid
WHERE parents.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('items'))
  AND parents.relkind IN ('r', 'p') AND NOT parents.relispartition
GROUP BY parents.relname
ORDER BY bytes DESC;

-- name: select_names
-- The names of some connectors.
SELECT connector_id, name FROM connectors WHERE connector_id = ANY (%(connector_ids)s::bigint[]);

-- name: count_connectors_by_lane
-- How many connectors each lane has.
SELECT lane, count(*) AS connectors FROM connectors GROUP BY lane;
