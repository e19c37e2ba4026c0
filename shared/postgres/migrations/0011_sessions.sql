-- Logged-in operators. The cookie's secret itself is stored nowhere.
CREATE TABLE sessions (
    session_id   bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    operator_id  bigint NOT NULL REFERENCES operators ON DELETE CASCADE,
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32), -- SHA-256 of the secret
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    address      text NOT NULL,
    browser      text NOT NULL,
    notice       text -- what was done by the last form, for the next page
);
CREATE INDEX sessions_operator ON sessions (operator_id);
