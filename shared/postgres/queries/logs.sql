-- Log entries of connectors.

-- name: insert_logs
-- Adds log entries; one that exists stays as it is.
INSERT INTO connector_logs (connector_id, version, index, logged_at, level, message, context)
SELECT connector_id, version, index, coalesce(logged_at::timestamptz, least(version_time(version), now())), level, message, context
FROM unnest(
    %(connector_ids)b::bigint[], %(versions)b::bigint[], %(indexes)b::bigint[], %(timestamps)b::text[],
    %(levels)b::text[], %(messages)b::text[], %(contexts)b::jsonb[]
) AS part (connector_id, version, index, logged_at, level, message, context)
ON CONFLICT (connector_id, version, index) DO NOTHING;

-- name: select_logs
-- Returns the newest `limit` log entries of a connector after a position, in the order in which they arrived, with the
-- lane in which each was accepted.
SELECT *, lane_at((SELECT lane FROM connectors WHERE connector_id = %(connector_id)s), version) AS lane FROM (
    SELECT version, index, logged_at, level, message, context::text AS context
    FROM connector_logs
    WHERE connector_id = %(connector_id)s
      AND (%(level)s::text IS NULL OR level = %(level)s)
      AND (%(since)s::timestamptz IS NULL OR logged_at >= %(since)s)
      AND (version, index) > (%(after_version)s::bigint, %(after_index)s::int)
    ORDER BY version DESC, index DESC
    LIMIT %(limit)s
) AS newest
ORDER BY version, index;

-- name: select_newest_logs
-- The same before a position, the newest first.
SELECT lane_at((SELECT lane FROM connectors WHERE connector_id = %(connector_id)s), version) AS lane,
       version, index, logged_at, level, message, context::text AS context
FROM connector_logs
WHERE connector_id = %(connector_id)s
  AND (%(level)s::text IS NULL OR level = %(level)s)
  AND (%(since)s::timestamptz IS NULL OR logged_at >= %(since)s)
  AND (version, index) < (%(before_version)s::bigint, %(before_index)s::int)
ORDER BY version DESC, index DESC
LIMIT %(limit)s;

-- name: select_log_entries
-- Returns the log entries of one submission.
SELECT version, index, logged_at, level, message, context::text AS context
FROM connector_logs
WHERE connector_id = %(connector_id)s AND version = %(version)s
ORDER BY index;
