-- Operators and tokens that may act on this installation, and the record of changes.

CREATE TABLE operators (
    operator_id         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name                text NOT NULL UNIQUE CHECK (name <> ''),
    role                text NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
    password            text NOT NULL, -- Argon2id, as PHC string
    -- Until when a one-time password is taken; null once the operator has chosen a password.
    one_time_until      timestamptz,
    created_at          timestamptz NOT NULL DEFAULT now(),
    password_changed_at timestamptz NOT NULL DEFAULT now()
);

-- Bearer tokens of the operations API. The secret itself is stored nowhere.
CREATE TABLE tokens (
    token_id   text PRIMARY KEY CHECK (token_id ~ '^[0-9a-f]{12}$'),
    name       text NOT NULL UNIQUE CHECK (name <> ''),
    role       text NOT NULL CHECK (role IN ('viewer', 'operator', 'administrator')),
    digest     bytea NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of the secret
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);

-- One row for each thing that a change has changed, written by the transaction that changed it. `before` and `after`
-- hold the members that differ, and no secret; null: there was no such thing, or there is none any more.
CREATE TABLE audit (
    audit_id   bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT now(),
    actor_kind text NOT NULL CHECK (actor_kind IN ('command', 'operator', 'token')),
    actor      text NOT NULL, -- user@host of a command, name of an operator or of a token
    action     text NOT NULL,
    subject    text NOT NULL, -- such as `connector 7`
    before     jsonb,
    after      jsonb
);
CREATE INDEX audit_subject ON audit (subject, audit_id);

-- What operators managed as a connector's configuration, version by version; null: they cleared it.
CREATE TABLE configuration_versions (
    connector_id bigint NOT NULL REFERENCES connectors ON DELETE CASCADE,
    version      integer NOT NULL,
    managed      text,
    set_at       timestamptz NOT NULL DEFAULT now(),
    actor        text NOT NULL,
    PRIMARY KEY (connector_id, version)
);
INSERT INTO configuration_versions (connector_id, version, managed, actor)
SELECT connector_id, 1, managed, 'the migration' FROM connector_configurations WHERE managed IS NOT NULL;

-- Long work of the operations API, and how far it is.
CREATE TABLE jobs (
    job_id      bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    action      text NOT NULL,
    actor       text NOT NULL,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    total       bigint NOT NULL,
    progress    jsonb NOT NULL DEFAULT '{}',
    message     text, -- why it failed
    started_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
