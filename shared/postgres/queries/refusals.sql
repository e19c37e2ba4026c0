-- The last refusals.

-- name: insert_refusals
-- Adds refusals, which are rows in JSON; returns what is wrong with each. A key that a client named is kept only if it is or was a connector's.
INSERT INTO refusals (
    at, request_id, connector_id, key_id, reason, route, stream, code, path, message, "limit", observed, skipped
)
SELECT to_timestamp(at), request_id, coalesce(nullif(added.connector_id, 0), known.connector_id), known.key_id,
       CASE WHEN added.reason = 'unknown' THEN coalesce(known.reason, 'unknown') ELSE added.reason END,
       route, stream, code, path, message, "limit", observed, coalesce(skipped, 0)
FROM jsonb_to_recordset(%(rows)s::jsonb) AS added (
    at float8, request_id text, connector_id bigint, key_id text, reason text, route text, stream text, code text,
    path text, message text, "limit" bigint, observed bigint, skipped bigint
)
LEFT JOIN LATERAL (
    SELECT connector_id, key_id, CASE WHEN enabled THEN 'secret_wrong' ELSE 'disabled' END AS reason
    FROM credentials
    JOIN connectors USING (connector_id)
    WHERE credentials.key_id = added.key_id
    UNION ALL
    SELECT connector_id, hook_id, CASE WHEN connectors.enabled AND hooks.enabled THEN NULL ELSE 'disabled' END
    FROM hooks
    JOIN connectors USING (connector_id)
    WHERE hook_id = added.key_id
    UNION ALL
    SELECT connector_id, key_id, reason FROM former_keys WHERE former_keys.key_id = added.key_id
    LIMIT 1
) AS known ON true
ORDER BY at
RETURNING code, reason;

-- name: delete_refusals
-- Deletes refusals older than some days, and those beyond `most`: connectors with few keep all of theirs.
DELETE FROM refusals
USING (
    SELECT number, row_number() OVER (ORDER BY place, number DESC) AS rank
    FROM (
        SELECT number, row_number() OVER (PARTITION BY connector_id ORDER BY number DESC) AS place FROM refusals
    ) AS ordered
) AS ranked
WHERE refusals.number = ranked.number AND (rank > %(most)s OR at < now() - make_interval(days => %(days)s));

-- fragment: wanted_refusals
      (%(connector_id)s::bigint IS NULL OR coalesce(connector_id, 0) = %(connector_id)s)
  AND (%(code)s::text IS NULL OR code = %(code)s)
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)

-- name: select_refusals
-- Returns the newest refusals, the newest first, before a number.
SELECT number, at, request_id, connector_id, key_id, reason, route, stream, code, path, message, "limit", observed,
       skipped
FROM refusals
WHERE
-- include: wanted_refusals
  AND (%(before)s::bigint IS NULL OR number < %(before)s)
ORDER BY number DESC
LIMIT %(limit)s;

-- name: group_refusals
-- Returns refusals by what is wrong and where, the most frequent first, with the newest one as an example.
SELECT grouped.*, message, request_id
FROM (
    SELECT code, reason, regexp_replace(path, '\[\d+\]', '[*]', 'g') AS path_pattern, route, connector_id, stream,
           (count(*) + sum(skipped))::bigint AS count, min(at) AS first_at, max(at) AS last_at, max(number) AS newest
    FROM refusals
    WHERE
-- include: wanted_refusals
    GROUP BY 1, 2, 3, 4, 5, 6
    ORDER BY count DESC, last_at DESC
    LIMIT %(limit)s
) AS grouped
JOIN refusals ON number = newest
ORDER BY count DESC, last_at DESC;
