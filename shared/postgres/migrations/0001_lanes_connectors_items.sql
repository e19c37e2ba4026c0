-- The lanes; connectors and their credentials; the items that connectors keep here; what became of each submission.
--
-- connector_id leads every key of the large tables, so that they can be distributed or partitioned by it as they are.
-- A version is a stream entry's id, milliseconds << 20 | sequence: it orders the writes of one connector, and says when
-- the submission was accepted.

CREATE FUNCTION version_time(version bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_timestamp((version >> 20) / 1000.0);

-- One row a lane. How many there are is chosen once, by the first migration, and read by every process.
CREATE TABLE lanes (
    lane            smallint PRIMARY KEY CHECK (lane BETWEEN 0 AND 1022),
    -- Highest version whose submission was applied: a lane that is created anew in Redis starts above it.
    applied_version bigint NOT NULL DEFAULT 0
);

CREATE TABLE connectors (
    connector_id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    name         text NOT NULL UNIQUE CHECK (name <> ''),
    enabled      boolean NOT NULL DEFAULT true,
    -- Token bucket: tokens a second, and how many at once.
    rate         double precision NOT NULL CHECK (rate > 0),
    burst        integer NOT NULL CHECK (burst >= 1),
    lane         smallint NOT NULL REFERENCES lanes,
    -- Counts the changes that Redis has to learn of; an older reading never replaces a newer one there.
    generation   bigint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX connectors_lane ON connectors (lane); -- for loading one lane's credentials

-- The current credential of each connector. The secret itself is stored nowhere.
CREATE TABLE credentials (
    connector_id bigint PRIMARY KEY REFERENCES connectors,
    key_id       text NOT NULL UNIQUE CHECK (key_id ~ '^[0-9a-f]{12}$'),
    digest       bytea NOT NULL CHECK (octet_length(digest) = 32), -- SHA-256 of the secret
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- Last sign of life of each connector. A table of its own, narrow and loosely packed, since it changes all the time.
CREATE TABLE connector_liveness (
    connector_id bigint PRIMARY KEY,
    last_seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The current state of each item. Room in each page lets an update stay in it (HOT), without touching the index.
CREATE TABLE items (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    updated_at   timestamptz NOT NULL,
    stream       text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    name         text,
    fields       jsonb NOT NULL,
    tags         jsonb NOT NULL,
    PRIMARY KEY (connector_id, stream, id)
) WITH (fillfactor = 80);

-- One row for each submission that was applied, written by the transaction that applied it. Partitioned by version,
-- which is by time, so that age is dropped by partition. The default partition takes what no other one covers: a
-- missing partition refuses nothing.
CREATE TABLE receipts (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    lane         smallint NOT NULL,
    kind         text NOT NULL,
    -- What the sender was told that was received: items or entries.
    received     integer NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connector_id, version)
) PARTITION BY RANGE (version);
CREATE TABLE receipts_default PARTITION OF receipts DEFAULT;

-- Submissions that can never be applied, whole, with the reason.
CREATE TABLE dead_letters (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    lane         smallint NOT NULL,
    meta         jsonb NOT NULL,
    received     integer NOT NULL, -- as in receipts
    body         bytea NOT NULL,
    reason       text NOT NULL, -- short and stable: an SQLSTATE, or what the fold found
    detail       text NOT NULL,
    died_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connector_id, version)
) PARTITION BY RANGE (version);
CREATE TABLE dead_letters_default PARTITION OF dead_letters DEFAULT;
