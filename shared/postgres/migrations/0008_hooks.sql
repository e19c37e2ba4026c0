-- Hooks, to which senders post signed webhooks. A change of one counts as a change of its connector: it raises the
-- connector's generation, and so the revision of the lane's credentials.

CREATE TABLE hooks (
    hook_id      text PRIMARY KEY CHECK (hook_id ~ '^hk_[0-9a-f]{32}$'),
    connector_id bigint NOT NULL REFERENCES connectors,
    scheme       text NOT NULL,
    stream       text NOT NULL,
    id_field     text NOT NULL,
    tolerance    integer NOT NULL CHECK (tolerance > 0), -- seconds
    enabled      boolean NOT NULL DEFAULT true,
    -- Random, and replaced when a secret is ended at once: what was verified before is not appended after that.
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32),
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX hooks_connector ON hooks (connector_id);

-- Signing secrets, encrypted for their hook (shared/hooks/sealing.py). One has no end: the current one.
CREATE TABLE hook_secrets (
    hook_id    text NOT NULL REFERENCES hooks ON DELETE CASCADE,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    PRIMARY KEY (hook_id, sealed)
);
