-- Submissions that could not be applied, their retries, and what operators do with them.
--
-- `until` is the moment at which an operator's selection was counted: letters that die later, or again, are not part of it.

-- fragment: is_selected
-- What operators filter by; each part counts if it is not null.
    (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
AND (%(reason)s::text IS NULL OR reason = %(reason)s)
AND (%(fingerprint)s::text IS NULL OR fingerprint = %(fingerprint)s)
AND (%(since)s::timestamptz IS NULL OR died_at >= %(since)s)
AND (%(versions)s::bigint[] IS NULL
     OR (lane, version) IN (SELECT * FROM unnest(%(lanes)s::smallint[], %(versions)s::bigint[])))

-- fragment: unlocked_letters
-- The letters with these keys, locked. One that a drain holds at this moment is left out instead of waited for, so that
-- the two can't deadlock.
SELECT dead_letters.connector_id, dead_letters.version
FROM dead_letters
JOIN unnest(%(connector_ids)s::bigint[], %(versions)s::bigint[]) AS wanted (connector_id, version)
  ON dead_letters.connector_id = wanted.connector_id AND dead_letters.version = wanted.version
WHERE died_at <= %(until)s
FOR UPDATE OF dead_letters SKIP LOCKED

-- name: insert_dead_letter
-- Keeps a submission that can't be applied, whole, with the reason. A letter that was retried and died again stays one
-- row, with the newer reason and no mark. A submission that was applied, in another delivery, is not dead.
INSERT INTO dead_letters (connector_id, version, lane, meta, received, body, reason, detail, fingerprint)
SELECT %(connector_id)s, %(version)s, %(lane)s, %(meta)s::jsonb, %(received)s, %(body)b,
       %(reason)s, %(detail)s, %(fingerprint)s
WHERE NOT EXISTS (
    SELECT FROM receipts WHERE connector_id = %(connector_id)s::bigint AND version = %(version)s::bigint
)
ON CONFLICT (connector_id, version) DO UPDATE
SET reason = excluded.reason, detail = excluded.detail, fingerprint = excluded.fingerprint, died_at = now(),
    retry_requested_at = NULL;

-- name: delete_applied_dead_letters
-- Deletes the letters of what a slice applies: the receipt takes their place.
DELETE FROM dead_letters
USING unnest(%(connector_ids)b::bigint[], %(versions)b::bigint[]) AS applied (connector_id, version)
WHERE dead_letters.connector_id = applied.connector_id AND dead_letters.version = applied.version
  AND dead_letters.version BETWEEN %(lowest)s AND %(highest)s; -- so that only the partitions of these days are looked at

-- name: select_lanes_to_retry
-- Lanes that may have letters to retry: those in which such letters were accepted, and those that were split from them.
-- One look into the index for each such lane, however many letters it has: DISTINCT would read all of them, and the
-- whole table before its first ANALYZE.
WITH RECURSIVE next AS (
    (SELECT lane FROM dead_letters WHERE retry_requested_at IS NOT NULL ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (
        SELECT dead_letters.lane
        FROM dead_letters
        WHERE retry_requested_at IS NOT NULL AND dead_letters.lane > next.lane
        ORDER BY dead_letters.lane
        LIMIT 1
    )
    FROM next
    WHERE lane IS NOT NULL
), concerned AS (
    SELECT lane FROM next WHERE lane IS NOT NULL
    UNION
    SELECT lanes.lane FROM lanes JOIN concerned ON lanes.split_from = concerned.lane
)
SELECT lane FROM concerned;

-- name: select_letters_to_retry
-- The next letters to retry of a lane's connectors that were accepted in this lane, or in a former one, the oldest first,
-- up to the one that reaches a bound. Letters of no connector are retried in the lane in which they were accepted.
SELECT connector_id, version, meta::text AS meta, received, body, bound_lifted
FROM (
    SELECT *, sum(octet_length(body)) OVER before AS bytes_before, sum(received) OVER before AS rows_before
    FROM (
        SELECT connector_id, version, meta, received, body, bound_lifted
        FROM dead_letters
        WHERE lane = %(accepted_in)s AND retry_requested_at IS NOT NULL AND coalesce(
            (SELECT lane FROM connectors WHERE connectors.connector_id = dead_letters.connector_id), lane
        ) = %(lane)s
        ORDER BY version
        LIMIT %(entries)s
    ) AS oldest
    WINDOW before AS (ORDER BY version ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
) AS next
WHERE coalesce(bytes_before, 0) < %(bytes)s AND coalesce(rows_before, 0) < %(rows)s
ORDER BY version;

-- name: claim_dead_letters
-- Keeps letters from being dropped until the transaction ends; fails at once if one was dropped already.
SELECT claim_dead_letters(%(connector_ids)b::bigint[], %(versions)b::bigint[]);

-- name: request_retries
-- Marks letters to be retried; one that is marked already keeps its mark. A bound that is lifted stays so.
WITH letter AS (
-- include: unlocked_letters
)
UPDATE dead_letters
SET retry_requested_at = coalesce(retry_requested_at, now()), bound_lifted = bound_lifted OR %(lift_bound)s
FROM letter
WHERE dead_letters.connector_id = letter.connector_id AND dead_letters.version = letter.version
  AND (retry_requested_at IS NULL OR (%(lift_bound)s AND NOT bound_lifted))
RETURNING dead_letters.lane, dead_letters.version;

-- name: count_retries
-- What became of letters that were marked: still waiting, applied, or dead again.
SELECT count(*) FILTER (WHERE letters.retry_requested_at IS NOT NULL) AS waiting,
       count(receipts.version) AS applied,
       count(*) FILTER (WHERE letters.died_at IS NOT NULL AND letters.retry_requested_at IS NULL) AS died
FROM unnest(%(connector_ids)s::bigint[], %(versions)s::bigint[]) AS asked (connector_id, version)
LEFT JOIN dead_letters AS letters
  ON letters.connector_id = asked.connector_id AND letters.version = asked.version
LEFT JOIN receipts
  ON receipts.connector_id = asked.connector_id AND receipts.version = asked.version;

-- name: select_dead_letters
-- The newest letters before a position, without their bodies.
SELECT connector_id, version, lane, meta ->> 'kind' AS kind, received, octet_length(body)::bigint AS bytes,
       reason, detail, fingerprint, died_at, least(version_time(version), died_at) AS received_at
FROM dead_letters
WHERE
-- include: is_selected
  AND (%(before_version)s::bigint IS NULL
       OR (version, lane) < (%(before_version)s, %(before_lane)s::smallint))
ORDER BY version DESC, lane DESC
LIMIT %(limit)s;

-- name: select_dead_letter_groups
-- Letters by their cause, the most frequent first, each with the newest one's reason and detail.
WITH selected AS (
    SELECT fingerprint, connector_id, count(*) AS letters, sum(octet_length(body)) AS bytes,
           min(died_at) AS first_died_at, max(died_at) AS last_died_at
    FROM dead_letters
    WHERE
-- include: is_selected
    GROUP BY fingerprint, connector_id
), grouped AS (
    SELECT fingerprint, sum(letters)::bigint AS letters, sum(bytes)::bigint AS bytes, count(*) AS connectors,
           array_agg(connector_id ORDER BY connector_id) AS connector_ids,
           min(first_died_at) AS first_died_at, max(last_died_at) AS last_died_at
    FROM selected
    GROUP BY fingerprint
    ORDER BY letters DESC, fingerprint
    LIMIT %(limit)s
), newest AS (
    SELECT DISTINCT ON (grouped.fingerprint) grouped.fingerprint, reason, detail
    FROM grouped
    JOIN dead_letters ON dead_letters.fingerprint = grouped.fingerprint AND died_at = last_died_at
)
SELECT grouped.*, reason, detail
FROM grouped
JOIN newest USING (fingerprint)
ORDER BY letters DESC, fingerprint;

-- name: count_dead_letters
-- How many letters are selected, and the moment at which that was so.
SELECT count(*) AS letters, coalesce(sum(octet_length(body)), 0)::bigint AS bytes,
       count(DISTINCT connector_id) AS connectors, now() AS until
FROM dead_letters
WHERE
-- include: is_selected
;

-- name: select_dead_letter_keys
-- The next of the selected letters, in the order in which they were accepted, from a position on.
SELECT connector_id, version, lane
FROM dead_letters
WHERE
-- include: is_selected
  AND died_at <= %(until)s
  AND (version, connector_id) > (%(after_version)s::bigint, %(after_connector_id)s::bigint)
ORDER BY version, connector_id
LIMIT %(limit)s;

-- name: select_dead_letter
-- One letter, whole, by the lane and version in its request id.
SELECT connector_id, version, lane, meta ->> 'kind' AS kind, received, body,
       octet_length(body)::bigint AS bytes, reason, detail, fingerprint, died_at, least(version_time(version), died_at) AS received_at
FROM dead_letters
WHERE lane = %(lane)s AND version = %(version)s;

-- name: drop_dead_letters
-- Deletes letters.
WITH letter AS (
-- include: unlocked_letters
)
DELETE FROM dead_letters
USING letter
WHERE dead_letters.connector_id = letter.connector_id AND dead_letters.version = letter.version
RETURNING dead_letters.lane, dead_letters.version;

-- name: count_waiting_letters
-- Counts dead letters, up to a bound: each scrape of metrics asks.
SELECT count(*) AS letters FROM (SELECT FROM dead_letters LIMIT 100000) AS letter;
