-- Operators and their passwords; tokens of the operations API.

-- name: insert_operator
-- Creates an operator with a one-time password.
INSERT INTO operators (name, role, password, one_time_until)
VALUES (%(name)s, %(role)s, %(password)s, now() + make_interval(secs => %(seconds)s));

-- name: reset_operator
-- Replaces an operator's password by a one-time password.
UPDATE operators
SET password = %(password)s, one_time_until = now() + make_interval(secs => %(seconds)s), password_changed_at = now()
WHERE name = %(name)s;

-- name: change_password
-- Stores the password that an operator has chosen.
UPDATE operators SET password = %(password)s, one_time_until = NULL, password_changed_at = now() WHERE name = %(name)s;

-- name: change_role
-- Gives an operator another role.
UPDATE operators SET role = %(role)s WHERE name = %(name)s;

-- name: delete_operator
-- Deletes an operator, and with it what refers to the operator.
DELETE FROM operators WHERE name = %(name)s;

-- name: select_operators
-- Returns all operators, or the one with a name, without their passwords.
SELECT operator_id, name, role, one_time_until, created_at, password_changed_at
FROM operators
WHERE %(name)s::text IS NULL OR name = %(name)s
ORDER BY name;

-- name: select_password
-- Returns an operator's password, if it may be used now.
SELECT operator_id, name, role, password, one_time_until IS NOT NULL AS must_change
FROM operators
WHERE name = %(name)s AND (one_time_until IS NULL OR one_time_until > now());

-- name: insert_token
-- Creates a token.
INSERT INTO tokens (token_id, name, role, digest, expires_at)
VALUES (%(token_id)s, %(name)s, %(role)s, %(digest)s, now() + make_interval(secs => %(seconds)s))
RETURNING expires_at;

-- name: delete_token
-- Deletes a token.
DELETE FROM tokens WHERE name = %(name)s;

-- name: select_tokens
-- Returns all tokens, or the one with a name, without their digests.
SELECT token_id, name, role, created_at, expires_at, coalesce(expires_at <= now(), false) AS expired
FROM tokens
WHERE %(name)s::text IS NULL OR name = %(name)s
ORDER BY name;

-- name: select_token
-- Returns a token that is valid now.
SELECT token_id, name, role, digest
FROM tokens
WHERE token_id = %(token_id)s AND (expires_at IS NULL OR expires_at > now());
