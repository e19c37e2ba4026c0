-- Traffic of connectors. `{table}` is traffic_minutes or traffic_hours.

-- name: record_traffic_move
-- Remembers a move from Redis; no row if it was made before.
UPDATE traffic_moves SET move = %(move)s WHERE move <> %(move)s RETURNING move;

-- name: add_traffic
-- Adds counts, which are rows in JSON, to those of the same connector, time and code.
INSERT INTO {table} AS known (
    connector_id, version, code, submissions, items, bytes, refused, applied, superseded, removed, dead, lag_ms
)
SELECT connector_id, version, code, submissions, items, bytes, refused, applied, superseded, removed, dead, lag_ms
FROM jsonb_to_recordset(%(rows)s::jsonb) AS added (
    connector_id bigint, version bigint, code text, submissions bigint, items bigint, bytes bigint, refused bigint,
    applied bigint, superseded bigint, removed bigint, dead bigint, lag_ms bigint
)
ORDER BY connector_id, version, code
ON CONFLICT (connector_id, version, code) DO UPDATE
SET submissions = known.submissions + excluded.submissions, items = known.items + excluded.items,
    bytes = known.bytes + excluded.bytes, refused = known.refused + excluded.refused,
    applied = known.applied + excluded.applied, superseded = known.superseded + excluded.superseded,
    removed = known.removed + excluded.removed, dead = known.dead + excluded.dead,
    lag_ms = greatest(known.lag_ms, excluded.lag_ms);

-- name: select_traffic
-- Returns what was counted from one version up to another: by connector or of all, by minute or hour or as a whole;
-- behind a row, by its connector and version (0 if it has none).
SELECT connector_id, version, sum(submissions)::bigint AS submissions, sum(items)::bigint AS items,
       sum(bytes)::bigint AS bytes, coalesce(sum(refused) FILTER (WHERE code = ''), 0)::bigint AS refused,
       sum(applied)::bigint AS applied, sum(superseded)::bigint AS superseded, sum(removed)::bigint AS removed,
       sum(dead)::bigint AS dead, max(lag_ms)::bigint AS lag_ms,
       coalesce(jsonb_object_agg(code, refused) FILTER (WHERE code <> ''), '{{}}') AS refused_by_code
FROM (
    SELECT CASE WHEN %(per_connector)s THEN connector_id END AS connector_id,
           CASE WHEN %(stepwise)s THEN version END AS version, code,
           sum(submissions) AS submissions, sum(items) AS items, sum(bytes) AS bytes, sum(refused) AS refused,
           sum(applied) AS applied, sum(superseded) AS superseded, sum(removed) AS removed, sum(dead) AS dead,
           max(lag_ms) AS lag_ms
    FROM {table}
    WHERE version >= %(low)s AND version < %(high)s
      AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
    GROUP BY 1, 2, 3
) AS counted
WHERE (coalesce(connector_id, 0), coalesce(version, 0)) > (%(after_connector)s, %(after_version)s)
GROUP BY 1, 2
ORDER BY 1, 2
LIMIT %(limit)s;
