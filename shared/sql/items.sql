-- The current state of each item.

-- name: upsert_items
-- Writes the newest version of each item of a slice; what is stored and newer stays.
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT connector_id, stream, id, name, fields, tags, version, version_time(version)
FROM unnest(
    %(connector_ids)b::bigint[], %(streams)b::text[], %(ids)b::text[], %(names)b::text[],
    %(fields)b::jsonb[], %(tags)b::jsonb[], %(versions)b::bigint[]
) AS slice (connector_id, stream, id, name, fields, tags, version)
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags,
    version = excluded.version, updated_at = excluded.updated_at
WHERE items.version < excluded.version;

-- name: select_items
-- Items of one stream, or the one with an id, in the order of their ids. Fields and tags as text: exact numbers.
SELECT id, name, fields::text AS fields, tags::text AS tags, updated_at
FROM items
WHERE connector_id = %(connector_id)s AND stream = %(stream)s AND (%(id)s::text IS NULL OR id = %(id)s)
ORDER BY id
LIMIT %(limit)s;

-- name: allow_long_reading
-- For a session that prints rows as it reads them: its reader may take its time.
SET statement_timeout = 0;
