-- What became of each submission.

-- name: insert_receipts
-- Records that submissions were applied; a receipt that another drain wrote in the meantime stays.
INSERT INTO receipts (connector_id, version, lane, kind, received, superseded)
SELECT connector_id, version, %(lane)s, kind, received, superseded
FROM unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[], %(kinds)b::text[], %(received)b::int[],
            %(superseded)b::int[])
    AS slice (connector_id, version, kind, received, superseded)
ON CONFLICT (connector_id, version) DO NOTHING;

-- name: set_superseded
-- Completes receipts that were inserted before all of it was known; only those of this very transaction.
UPDATE receipts
SET superseded = slice.superseded
FROM unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[], %(superseded)b::int[])
    AS slice (connector_id, version, superseded)
WHERE receipts.connector_id = slice.connector_id AND receipts.version = slice.version
  AND slice.superseded > 0 AND receipts.applied_at = now();

-- name: find_applied
-- Returns which of some submissions were applied before, and deletes their dead letters.
WITH applied AS (
    SELECT connector_id, version
    FROM receipts
    JOIN unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[]) AS asked (connector_id, version)
      USING (connector_id, version)
), settled AS (
    DELETE FROM dead_letters
    USING applied
    WHERE dead_letters.connector_id = applied.connector_id AND dead_letters.version = applied.version
)
SELECT version FROM applied;

-- name: set_lanes_of_letters
-- Sets the lane of receipts of dead letters to that in which they were accepted.
UPDATE receipts
SET lane = lane_at(%(lane)s::smallint, receipts.version)
FROM unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[]) AS letter (connector_id, version)
WHERE receipts.connector_id = letter.connector_id AND receipts.version = letter.version
  AND receipts.lane <> lane_at(%(lane)s::smallint, receipts.version);

-- name: count_superseded
-- Adds to the receipts of late submissions the items that were not written or deleted because the table holds a newer
-- state, or they were removed since; only to receipts of this very transaction, which have its time.
UPDATE receipts
SET superseded = superseded + lost.items
FROM (
    SELECT part.connector_id, part.version, count(*)::int AS items
    FROM unnest(%(connector_ids)b::bigint[], %(streams)b::text[], %(ids)b::text[], %(versions)b::bigint[])
        AS part (connector_id, stream, id, version)
    WHERE part.version <= %(applied)s AND (EXISTS (
        SELECT FROM items
        WHERE items.connector_id = part.connector_id AND items.stream = part.stream AND items.id = part.id
          AND items.version > part.version
    ) OR
-- include: is_overtaken
    )
    GROUP BY part.connector_id, part.version
) AS lost
WHERE receipts.connector_id = lost.connector_id AND receipts.version = lost.version AND receipts.applied_at = now();

-- name: select_counts
-- Returns what was counted in the receipts of this very transaction.
SELECT version, superseded, removed
FROM receipts
JOIN unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[]) AS written (connector_id, version)
  USING (connector_id, version)
WHERE version BETWEEN %(lowest)s AND %(highest)s AND applied_at = now();

-- name: upsert_liveness
-- Moves the connectors' last sign of life forward, in steps: a heartbeat a second is not a row update a second. Rows
-- that are recent enough are left out before the upsert, which would lock them, and a lock is a write. None is in the
-- future: versions are, after Redis' clock was ahead.
INSERT INTO connector_liveness AS known (connector_id, last_seen_at)
SELECT connector_id, least(last_seen_at, now())
FROM unnest(%(connector_ids)b::bigint[], %(last_seen_at)b::timestamptz[]) AS slice (connector_id, last_seen_at)
WHERE NOT EXISTS (
    SELECT FROM connector_liveness AS recent
    WHERE recent.connector_id = slice.connector_id
      AND recent.last_seen_at > least(slice.last_seen_at, now()) - %(step)s::interval
      AND recent.last_seen_at <= now()
)
ON CONFLICT (connector_id) DO UPDATE
SET last_seen_at = excluded.last_seen_at
WHERE known.last_seen_at < excluded.last_seen_at OR known.last_seen_at > now();

-- name: select_outcome
-- What became of one submission: applied, or dead; no row while it is neither.
SELECT 'applied' AS state, kind, received, removed, applied_at AS ended_at, NULL AS reason, NULL AS detail
FROM receipts
WHERE connector_id = %(connector_id)s AND version = %(version)s AND lane = %(lane)s
UNION ALL
SELECT 'dead', meta ->> 'kind', received, NULL, died_at, reason, detail
FROM dead_letters
WHERE connector_id = %(connector_id)s AND version = %(version)s AND lane = %(lane)s;

-- name: select_submission
-- The same for operators, who have the request id alone: its lane and version.
SELECT connector_id, 'applied' AS state, kind, received, removed, applied_at AS ended_at, NULL AS reason,
       NULL AS detail
FROM receipts
WHERE lane = %(lane)s AND version = %(version)s
UNION ALL
SELECT connector_id, 'dead', meta ->> 'kind', received, NULL, died_at, reason, detail
FROM dead_letters
WHERE lane = %(lane)s AND version = %(version)s;
