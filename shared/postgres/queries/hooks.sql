-- Hooks and their sealed secrets.

-- name: insert_hook
-- Creates a hook.
INSERT INTO hooks (hook_id, connector_id, scheme, stream, id_field, tolerance, digest)
VALUES (%(hook_id)s, %(connector_id)s, %(scheme)s, %(stream)s, %(id_field)s, %(tolerance)s, %(digest)s);

-- name: insert_hook_secret
-- Makes a secret the hook's current one.
INSERT INTO hook_secrets (hook_id, sealed) VALUES (%(hook_id)s, %(sealed)s);

-- name: expire_hook_secrets
-- Ends a hook's secrets after some seconds, those that would have ended sooner as before.
UPDATE hook_secrets
SET expires_at = least(expires_at, now() + make_interval(secs => %(seconds)s))
WHERE hook_id = %(hook_id)s;

-- name: delete_expired_hook_secrets
-- Forgets a hook's secrets that have ended.
DELETE FROM hook_secrets WHERE hook_id = %(hook_id)s AND expires_at <= now();

-- name: renew_hook_digest
-- Takes away what was verified until now.
UPDATE hooks SET digest = %(digest)s WHERE hook_id = %(hook_id)s;

-- name: enable_hook
-- Enables or disables a hook.
UPDATE hooks SET enabled = %(enabled)s WHERE hook_id = %(hook_id)s;

-- name: delete_hook
-- Deletes a hook with its secrets.
DELETE FROM hooks WHERE hook_id = %(hook_id)s;

-- name: select_hook_ids
-- The ids of a connector's hooks, also of those that are disabled.
SELECT hook_id FROM hooks WHERE connector_id = %(connector_id)s;

-- name: select_hooks
-- Returns all hooks, those of one connector or one of them, with the times of their secrets.
SELECT hook_id, connector_id, scheme, stream, id_field, tolerance, enabled, created_at,
       array(SELECT secrets.created_at FROM hook_secrets AS secrets WHERE secrets.hook_id = hooks.hook_id
             ORDER BY secrets.created_at, sealed) AS secrets_created_at,
       array(SELECT secrets.expires_at FROM hook_secrets AS secrets WHERE secrets.hook_id = hooks.hook_id
             ORDER BY secrets.created_at, sealed) AS secrets_expire_at
FROM hooks
WHERE (%(hook_id)s::text IS NULL OR hook_id = %(hook_id)s)
  AND (%(connector_id)s::bigint IS NULL OR connector_id = %(connector_id)s)
ORDER BY connector_id, created_at, hook_id;
