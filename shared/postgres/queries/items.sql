-- The current state of each item.

-- name: upsert_items
-- Writes the newest version of each item of a part; a newer stored version stays. An equal version is another part of
-- the same submission, in which the last one of an id counts: a repeated delivery does not come this far.
--
-- A row that already holds the very same state is not written and keeps its version: pollers send whole tables again.
-- A late older version still can't win over it. Within a lane, submissions are applied in the order of their versions,
-- each once (by its receipt), so only a retried dead letter comes late; and a row that is not above every dead letter
-- of the lane (`dead_version`) is written, with its new version. The comparison is of the stored bytes: 1.0 is not 1.00.
--
-- `look_first` leaves such rows out before the upsert instead, which would lock them, and a lock is a write. That pays if
-- most rows are unchanged; looking at each row first makes changed rows cost a quarter more.
--
-- `late` asks whether an item of the part was removed since: where no row is left, only that tells.
--
-- A version says when its submission was accepted, unless Redis' clock was ahead: not later than now, then.
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT connector_id, stream, id, name, fields, tags, version, least(version_time(version), now())
FROM unnest(
    %(connector_ids)b::bigint[], %(streams)b::text[], %(ids)b::text[], %(names)b::text[],
    %(fields)b::jsonb[], %(tags)b::jsonb[], %(versions)b::bigint[]
) AS part (connector_id, stream, id, name, fields, tags, version)
WHERE NOT (%(look_first)s AND EXISTS (
    SELECT FROM items AS known
    WHERE known.connector_id = part.connector_id AND known.stream = part.stream AND known.id = part.id
      AND known.version > %(dead_version)s
      AND ROW(known.name, known.fields, known.tags)::record *= ROW(part.name, part.fields, part.tags)::record
))
AND NOT (%(late)s AND (
-- include: is_overtaken
))
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags,
    version = excluded.version, updated_at = excluded.updated_at
WHERE items.version <= excluded.version
  AND (%(look_first)s
       OR items.version <= %(dead_version)s
       OR ROW(items.name, items.fields, items.tags)::record
          *<> ROW(excluded.name, excluded.fields, excluded.tags)::record);

-- name: select_items
-- Items of one stream, or the one with an id, in the order of their ids: those that are searched for by the beginning of
-- the id or by the name, after an id. Fields and tags as text: exact numbers.
SELECT id, name, fields::text AS fields, tags::text AS tags, least(updated_at, now()) AS updated_at
FROM items
WHERE connector_id = %(connector_id)s AND stream = %(stream)s AND (%(id)s::text IS NULL OR id = %(id)s)
  AND (%(prefix)s::text IS NULL OR starts_with(id, %(prefix)s) OR name ILIKE %(pattern)s)
  AND (%(after)s::text IS NULL OR id > %(after)s)
ORDER BY id
LIMIT %(limit)s;

-- name: count_items
-- Counts the items of a connector.
SELECT count(*) AS items FROM items WHERE connector_id = %(connector_id)s;

-- name: delete_some_items
-- Deletes some items of a connector.
DELETE FROM items
WHERE connector_id = %(connector_id)s AND (stream, id) IN (
    SELECT stream, id FROM items WHERE connector_id = %(connector_id)s LIMIT %(limit)s
);

-- name: select_streams
-- Returns the streams of a connector, with their number of items.
SELECT stream, count(*) AS items, max(updated_at) AS last_updated_at
FROM items
WHERE connector_id = %(connector_id)s
GROUP BY stream
ORDER BY stream;
