-- Sessions of operators' browsers.

-- name: insert_session
-- Begins a session, and forgets those that have expired.
WITH expired AS (
    DELETE FROM sessions WHERE expires_at <= now()
)
INSERT INTO sessions (operator_id, digest, expires_at, address, browser)
VALUES (%(operator_id)s, %(digest)s, now() + make_interval(secs => %(seconds)s), %(address)s, %(browser)s);

-- name: select_session
-- Returns a session and its operator, and notes once a minute that it is in use.
WITH seen AS (
    UPDATE sessions SET last_seen_at = now()
    WHERE digest = %(digest)s AND last_seen_at < now() - interval '1 minute'
)
SELECT session_id, operator_id, operators.name, role, one_time_until IS NOT NULL AS must_change, notice
FROM sessions
JOIN operators USING (operator_id)
WHERE digest = %(digest)s AND expires_at > now() AND last_seen_at > now() - make_interval(secs => %(idle_seconds)s);

-- name: select_sessions
-- Returns the sessions of one operator or of all, the latest in use first.
SELECT session_id, operator_id, operators.name, role, sessions.created_at, last_seen_at, expires_at, address, browser
FROM sessions
JOIN operators USING (operator_id)
WHERE (%(operator_id)s::bigint IS NULL OR operator_id = %(operator_id)s) AND expires_at > now()
ORDER BY last_seen_at DESC, session_id DESC
LIMIT 200;

-- name: set_notice
-- Stores what the next page of a session says; null once it was said.
UPDATE sessions SET notice = %(notice)s WHERE session_id = %(session_id)s;

-- name: delete_session
-- Ends a session of an operator, or of any.
DELETE FROM sessions
WHERE session_id = %(session_id)s AND (%(operator_id)s::bigint IS NULL OR operator_id = %(operator_id)s);

-- name: delete_other_sessions
-- Ends an operator's sessions but one.
DELETE FROM sessions WHERE operator_id = %(operator_id)s AND session_id <> %(session_id)s;
