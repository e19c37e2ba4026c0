-- Submissions that can never be applied, and what operators do with them.
--
-- What operators ask for is one condition in four queries: each part counts where it is not null. `until` is the moment
-- at which they were counted: what dies later, or again, was not meant.

-- name: insert_dead_letter
-- Keeps a submission that can never be applied, whole, with the reason. One that was tried again and died again stays
-- one row, with the newer reason; one that was applied, in another delivery, is not dead.
INSERT INTO dead_letters (connector_id, version, lane, meta, received, body, reason, detail, fingerprint)
SELECT %(connector_id)s, %(version)s, %(lane)s, %(meta)s::jsonb, %(received)s, %(body)b,
       %(reason)s, %(detail)s, %(fingerprint)s
WHERE NOT EXISTS (
    SELECT FROM receipts WHERE connector_id = %(connector_id)s::bigint AND version = %(version)s::bigint
)
ON CONFLICT (connector_id, version) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, fingerprint = excluded.fingerprint, died_at = now();

-- name: delete_applied_dead_letters
-- Of what a slice applies, nothing is dead: a letter that was handed back goes with the receipt that takes its place.
DELETE FROM dead_letters
USING unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[]) AS applied (connector_id, version)
WHERE dead_letters.connector_id = applied.connector_id AND dead_letters.version = applied.version
  AND dead_letters.version BETWEEN %(lowest)s AND %(highest)s; -- so that only the partitions of these days are looked at

-- name: select_dead_letters
-- The newest letters, without their bodies.
SELECT connector_id, version, lane, meta ->> 'kind' AS kind, received, octet_length(body)::bigint AS bytes,
       reason, detail, fingerprint, died_at, version_time(version) AS received_at
FROM dead_letters
WHERE (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
  AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s)
ORDER BY version DESC, connector_id DESC
LIMIT %(limit)s;

-- name: select_dead_letter_groups
-- Letters by their cause, the most frequent first, each with the newest one's reason and detail.
SELECT fingerprint, count(*) AS letters, sum(octet_length(body))::bigint AS bytes,
       count(DISTINCT connector_id) AS connectors, min(died_at) AS first_died_at, max(died_at) AS last_died_at,
       (array_agg(reason ORDER BY died_at DESC))[1] AS reason, (array_agg(detail ORDER BY died_at DESC))[1] AS detail
FROM dead_letters
WHERE (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
  AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s)
GROUP BY fingerprint
ORDER BY letters DESC, fingerprint
LIMIT %(limit)s;

-- name: count_dead_letters
-- How many letters are meant, and the moment at which that was so.
SELECT count(*) AS letters, coalesce(sum(octet_length(body)), 0)::bigint AS bytes,
       count(DISTINCT connector_id) AS connectors, now() AS until
FROM dead_letters
WHERE (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
  AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s)
  AND (%(versions)s::bigint[] IS NULL
       OR (lane, version) IN (SELECT * FROM unnest(%(lanes)s::smallint[], %(versions)s::bigint[])));

-- name: select_dead_letter_keys
-- The next of the letters that are meant, in the order in which they were accepted, from a position on.
SELECT connector_id, version, lane, octet_length(body)::bigint AS bytes
FROM dead_letters
WHERE (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s)
  AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
  AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s)
  AND (%(versions)s::bigint[] IS NULL
       OR (lane, version) IN (SELECT * FROM unnest(%(lanes)s::smallint[], %(versions)s::bigint[])))
  AND died_at <= %(until)s
  AND (version, connector_id) > (%(after_version)s::bigint, %(after_connector_id)s::bigint)
ORDER BY version, connector_id
LIMIT %(limit)s;

-- name: select_dead_letter
-- One letter, whole, by the lane and version in its request id.
SELECT connector_id, version, lane, meta ->> 'kind' AS kind, meta::text AS meta, received, body,
       octet_length(body)::bigint AS bytes, reason, detail, fingerprint, died_at, version_time(version) AS received_at
FROM dead_letters
WHERE lane = %(lane)s AND version = %(version)s;

-- name: drop_dead_letters
-- Forgets letters. One that a drain holds at this moment is being applied, or dies again: it is left alone, and nobody
-- waits for anybody, so that the two can't deadlock.
WITH meant AS (
    SELECT dead_letters.connector_id, dead_letters.version
    FROM dead_letters
    JOIN unnest(%(connector_ids)s::bigint[], %(versions)s::bigint[]) AS one (connector_id, version)
      ON dead_letters.connector_id = one.connector_id AND dead_letters.version = one.version
    WHERE died_at <= %(until)s
    FOR UPDATE OF dead_letters SKIP LOCKED
)
DELETE FROM dead_letters
USING meant
WHERE dead_letters.connector_id = meant.connector_id AND dead_letters.version = meant.version;
