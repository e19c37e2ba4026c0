-- Connectors and their credentials.

-- name: insert_connector
-- Creates a connector on a lane.
INSERT INTO connectors (name, rate, burst, lane)
VALUES (%(name)s, %(rate)s, %(burst)s, %(lane)s)
RETURNING connector_id, generation;

-- fragment: connectors_as_operators_see_them
SELECT connector_id, connectors.name, enabled, rate, burst, lane, generation, connectors.created_at,
       key_id, credentials.created_at AS key_created_at, last_seen_at
FROM connectors
JOIN credentials USING (connector_id)
LEFT JOIN (
    SELECT connector_id, least(last_seen_at, now()) AS last_seen_at FROM connector_liveness
) AS liveness USING (connector_id)

-- name: select_connectors
-- Returns all connectors or one, with what operators ask about them.
-- include: connectors_as_operators_see_them
WHERE %(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s
ORDER BY connector_id;

-- name: select_some_connectors
-- Returns the next connectors after one, of those whose name contains a text in any case.
-- include: connectors_as_operators_see_them
WHERE connector_id > %(after)s AND (%(enabled)s::boolean IS NULL OR enabled = %(enabled)s)
  AND (%(search)s::text IS NULL OR strpos(lower(connectors.name), lower(%(search)s)) > 0)
ORDER BY connector_id
LIMIT %(limit)s;

-- name: lock_connectors
-- Returns connectors, locked against other changes until the transaction ends, in an order in which two changes can't
-- wait for each other. Both rows: after waiting for another change, one that is not locked would be read as it was before.
SELECT connector_id, enabled, rate, burst, lane, generation, key_id, digest
FROM connectors
JOIN credentials USING (connector_id)
WHERE connector_id = ANY (%(connector_ids)s::bigint[])
ORDER BY connector_id
FOR UPDATE;

-- name: update_connectors
-- Changes what is given of connectors, and records that it has to reach Redis.
UPDATE connectors
SET generation = generation + 1, name = coalesce(%(name)s, name), enabled = coalesce(%(enabled)s, enabled),
    rate = coalesce(%(rate)s, rate), burst = coalesce(%(burst)s, burst)
WHERE connector_id = ANY (%(connector_ids)s::bigint[]);

-- name: select_connector_states
-- What of connectors is recorded when it changes.
SELECT connector_id, name, enabled, rate, burst, key_id AS "keyId"
FROM connectors
JOIN credentials USING (connector_id)
WHERE connector_id = ANY (%(connector_ids)s::bigint[]) OR name = %(name)s;

-- name: delete_connector
-- Deletes a connector, with what belongs to it but items.
WITH hooks AS (
    DELETE FROM hooks WHERE connector_id = %(connector_id)s
), configurations AS (
    DELETE FROM connector_configurations WHERE connector_id = %(connector_id)s
), liveness AS (
    DELETE FROM connector_liveness WHERE connector_id = %(connector_id)s
), credential AS (
    DELETE FROM credentials WHERE connector_id = %(connector_id)s
)
DELETE FROM connectors WHERE connector_id = %(connector_id)s;

-- name: select_described
-- What a file of connectors describes.
SELECT connector_id, name, rate, burst, enabled, managed
FROM connectors
LEFT JOIN connector_configurations USING (connector_id)
ORDER BY connector_id;

-- name: upsert_credential
-- Makes a credential the connector's current one.
INSERT INTO credentials (connector_id, key_id, digest)
VALUES (%(connector_id)s, %(key_id)s, %(digest)s)
ON CONFLICT (connector_id) DO UPDATE
SET key_id = excluded.key_id, digest = excluded.digest, created_at = now();

-- name: select_revisions
-- The revision of each lane's credentials: another one after each change, the old one after a restore.
SELECT lane, coalesce(revision::text, '') AS revision
FROM lanes
LEFT JOIN credential_revisions USING (lane)
ORDER BY lane;

-- name: select_lane_state
-- The revision of a lane's credentials, and the version above which a lane that is created again must start.
SELECT coalesce(revision::text, '') AS revision, applied_version,
       split_from IS NOT NULL AND split_version IS NULL AS is_splitting
FROM lanes
LEFT JOIN credential_revisions USING (lane)
WHERE lane = %(lane)s;

-- name: lock_lane_connector
-- Locks a connector against changes; no row while a change is under way.
SELECT connector_id
FROM connectors
WHERE connector_id = %(connector_id)s AND enabled
FOR UPDATE SKIP LOCKED;

-- name: select_lane_credentials
-- Returns what Redis must hold for one lane, or for one connector of it: of the enabled connectors, the current
-- credentials and the enabled hooks, whose `hook` is shared/hooks/hook.py's Hook.
SELECT connector_id, generation, key_id, digest, rate, burst, '' AS hook
FROM connectors
JOIN credentials USING (connector_id)
WHERE lane = %(lane)s AND enabled AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
UNION ALL
SELECT connector_id, generation, hook_id, hooks.digest, rate, burst, jsonb_build_object(
    'scheme', scheme, 'stream', stream, 'idField', id_field, 'tolerance', tolerance, 'bucket', key_id,
    'secrets', (
        SELECT jsonb_agg(jsonb_build_object(
            'sealed', translate(encode(sealed, 'base64'), E'\n', ''), 'expiresAt', extract(epoch FROM expires_at)
        ))
        FROM hook_secrets
        WHERE hook_secrets.hook_id = hooks.hook_id
    ))::text
FROM hooks
JOIN connectors USING (connector_id)
JOIN credentials USING (connector_id)
WHERE connectors.enabled AND hooks.enabled AND hook_id IN (
    SELECT hook_id FROM hooks JOIN connectors USING (connector_id) WHERE connectors.lane = %(lane)s
    UNION
    SELECT hook_id FROM hooks WHERE lane = %(lane)s
)
  AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
ORDER BY connector_id;
