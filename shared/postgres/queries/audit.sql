-- The record of changes.

-- name: insert_audit
-- Records what a change has changed, one row for each thing.
INSERT INTO audit (actor_kind, actor, action, subject, before, after)
SELECT %(kind)s, %(actor)s, %(action)s, changed.subject, changed.before, changed.after
FROM unnest(%(subjects)s::text[], %(befores)s::jsonb[], %(afters)s::jsonb[]) AS changed (subject, before, after);

-- name: select_audit
-- The newest changes, below a position.
SELECT audit_id, at, actor_kind, actor, action, subject, before, after
FROM audit
WHERE (%(before_id)s::bigint IS NULL OR audit_id < %(before_id)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
  AND (%(actor)s::text IS NULL OR actor = %(actor)s)
  AND (%(action)s::text IS NULL OR action = %(action)s OR starts_with(action, %(action)s || '.'))
  AND (%(since)s::timestamptz IS NULL OR at >= %(since)s)
ORDER BY audit_id DESC
LIMIT %(limit)s;

-- name: delete_old_audit
-- Deletes those of the `limit` oldest records that are from before a time.
DELETE FROM audit
WHERE at < %(before)s AND audit_id = ANY (ARRAY(SELECT audit_id FROM audit ORDER BY audit_id LIMIT %(limit)s));
