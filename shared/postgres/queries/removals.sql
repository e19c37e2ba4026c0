-- Items that are removed, by their id or because a retain does not name them, and what keeps late older states from
-- bringing them back.
--
-- Within a lane only a retried dead letter comes late. So a removal leaves a trace only if its connector has an older
-- letter at that moment: `deletions` has the ids, `retains` and `retained_ids` what was retained. The hourly retention
-- job deletes the traces that no letter is older than.

-- fragment: is_overtaken
-- Whether an item of `part` was removed by a submission that is newer.
EXISTS (
    SELECT FROM deletions
    WHERE deletions.connector_id = part.connector_id AND deletions.stream = part.stream AND deletions.id = part.id
      AND deletions.version > part.version
) OR EXISTS (
    SELECT FROM retains
    WHERE retains.connector_id = part.connector_id AND retains.stream = part.stream AND retains.version > part.version
      AND NOT EXISTS (
        SELECT FROM retained_ids AS kept
        WHERE kept.connector_id = part.connector_id AND kept.stream = part.stream AND kept.id = part.id
          AND kept.version = retains.version
    )
)

-- fragment: others
-- The items of a range that a retain does not name. The list is hashed; a join would not be, in a slice's transaction.
connector_id = %(connector_id)s AND stream = %(stream)s AND id > %(low)s
AND (%(high)s::text IS NULL OR id <= %(high)s) AND id <> ALL (%(ids)b::text[]) AND version < %(version)s

-- name: delete_items
-- Deletes the items of a part, unless a newer version is stored, and counts the rows that vanish in their receipts. An
-- equal version is an earlier part of the same submission.
WITH part AS MATERIALIZED (
    SELECT connector_id, stream, id, version
    FROM unnest(%(connector_ids)b::bigint[], %(streams)b::text[], %(ids)b::text[], %(versions)b::bigint[])
        AS part (connector_id, stream, id, version)
), trace AS (
    -- By connector, so that letters are looked for once for each.
    INSERT INTO deletions (connector_id, stream, id, version)
    SELECT of_one.connector_id, deleted.stream, deleted.id, deleted.version
    FROM (
        SELECT connector_id, array_agg(stream) AS streams, array_agg(id) AS ids, array_agg(version) AS versions
        FROM part
        GROUP BY connector_id
    ) AS of_one
    CROSS JOIN LATERAL (
        SELECT min(version) AS oldest FROM dead_letters WHERE dead_letters.connector_id = of_one.connector_id
    ) AS letters
    CROSS JOIN LATERAL unnest(streams, ids, versions) AS deleted (stream, id, version)
    WHERE deleted.version > letters.oldest
    ON CONFLICT (connector_id, stream, id) DO UPDATE
    SET version = excluded.version
    WHERE deletions.version < excluded.version
), gone AS (
    DELETE FROM items
    USING part
    WHERE items.connector_id = part.connector_id AND items.stream = part.stream AND items.id = part.id
      AND items.version <= part.version
    RETURNING part.connector_id, part.version
)
UPDATE receipts
SET removed = removed + counted.items
FROM (SELECT connector_id, version, count(*) AS items FROM gone GROUP BY connector_id, version) AS counted
WHERE receipts.connector_id = counted.connector_id AND receipts.version = counted.version
  AND receipts.applied_at = now();

-- name: insert_retain
-- Leaves the trace of a retain, with the newest letter that is older.
INSERT INTO retains (connector_id, stream, version, letter_version)
SELECT %(connector_id)s, %(stream)s, %(version)s, max(version)
FROM dead_letters
WHERE connector_id = %(connector_id)s AND version < %(version)s
HAVING max(version) IS NOT NULL
ON CONFLICT DO NOTHING;

-- name: count_others
-- Counts in the receipt of a retain what it would remove of a range.
UPDATE receipts
SET removed = removed + counted.items
FROM (
    SELECT count(*) AS items
    FROM items
    WHERE
-- include: others
) AS counted
WHERE connector_id = %(connector_id)s AND version = %(version)s AND applied_at = now() AND counted.items > 0;

-- name: check_removals
-- Fails if what was counted is more than may be removed; else counting starts again.
SELECT check_removals(%(connector_id)s::bigint, %(version)s::bigint, %(at_most)s::bigint);

-- name: remove_others
-- Deletes what a retain does not name of a range, counts it in its receipt, and completes the retain's trace, if there is
-- one, by the ids of the range. Those with a row above all older letters are left out: no letter replaces or removes
-- that row, and what removes it later leaves a trace of its own.
WITH gone AS (
    DELETE FROM items
    WHERE
-- include: others
    RETURNING 1
), trace AS (
    INSERT INTO retained_ids (connector_id, stream, id, version)
    SELECT %(connector_id)s, %(stream)s, kept.id, %(version)s
    FROM unnest(%(ids)b::text[]) AS kept (id)
    WHERE EXISTS (
        SELECT FROM retains
        WHERE connector_id = %(connector_id)s AND stream = %(stream)s AND version = %(version)s
    ) AND NOT EXISTS (
        SELECT FROM items
        WHERE items.connector_id = %(connector_id)s AND items.stream = %(stream)s AND items.id = kept.id
          AND items.version > (
            SELECT letter_version FROM retains
            WHERE connector_id = %(connector_id)s AND stream = %(stream)s AND version = %(version)s
        )
    )
    ON CONFLICT DO NOTHING
)
UPDATE receipts
SET removed = removed + counted.items
FROM (SELECT count(*) AS items FROM gone) AS counted
WHERE connector_id = %(connector_id)s AND version = %(version)s AND applied_at = now() AND counted.items > 0;

-- name: delete_expired_traces
-- Deletes up to `limit` traces of a table that no letter of their connector is older than.
DELETE FROM {table}
WHERE ctid = ANY (ARRAY(
    SELECT trace.ctid
    FROM connectors
    CROSS JOIN LATERAL (
        SELECT min(version) AS oldest FROM dead_letters WHERE dead_letters.connector_id = connectors.connector_id
    ) AS letters
    JOIN {table} AS trace ON trace.connector_id = connectors.connector_id
    WHERE letters.oldest IS NULL OR trace.version <= letters.oldest
    LIMIT %(limit)s
));
