-- What became of each submission.

-- name: insert_receipts
-- Records that submissions were applied; a repeated delivery changes nothing.
INSERT INTO receipts (connector_id, version, lane, kind, received)
SELECT connector_id, version, %(lane)s, kind, received
FROM unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[], %(kinds)b::text[], %(received)b::int[])
    AS slice (connector_id, version, kind, received)
ON CONFLICT (connector_id, version) DO NOTHING;

-- name: insert_dead_letter
-- Keeps a submission that can never be applied, whole, with the reason.
INSERT INTO dead_letters (connector_id, version, lane, meta, body, reason, detail)
VALUES (%(connector_id)s, %(version)s, %(lane)s, %(meta)s::jsonb, %(body)b, %(reason)s, %(detail)s)
ON CONFLICT (connector_id, version) DO NOTHING;

-- name: upsert_liveness
-- Moves the connectors' last sign of life forward, in steps: a heartbeat a second is not a row update a second.
INSERT INTO connector_liveness AS known (connector_id, last_seen_at)
SELECT connector_id, last_seen_at
FROM unnest(%(connector_ids)b::bigint[], %(last_seen_at)b::timestamptz[]) AS slice (connector_id, last_seen_at)
ON CONFLICT (connector_id) DO UPDATE
SET last_seen_at = excluded.last_seen_at
WHERE known.last_seen_at < excluded.last_seen_at - %(step)s::interval;
