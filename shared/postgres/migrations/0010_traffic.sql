-- What each connector sends and what becomes of it; the last refusals; which keys were a connector's once.

-- By the minute and by the hour; `version` is the lowest version of that time. Connector 0: requests of no known
-- connector. A row with a code counts the refusals with that code alone.
CREATE TABLE traffic_minutes (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    code         text COLLATE "C" NOT NULL,
    submissions  bigint NOT NULL, -- accepted, with their items and bytes
    items        bigint NOT NULL,
    bytes        bigint NOT NULL,
    refused      bigint NOT NULL, -- requests
    applied      bigint NOT NULL, -- items, as are the next three
    superseded   bigint NOT NULL,
    removed      bigint NOT NULL,
    dead         bigint NOT NULL,
    lag_ms       bigint NOT NULL, -- the longest time from acceptance to commit
    PRIMARY KEY (connector_id, version, code)
) PARTITION BY RANGE (version);
CREATE TABLE traffic_minutes_default PARTITION OF traffic_minutes DEFAULT;
CREATE INDEX traffic_minutes_version ON traffic_minutes (version); -- for all connectors together

CREATE TABLE traffic_hours (LIKE traffic_minutes INCLUDING ALL) PARTITION BY RANGE (version);
CREATE TABLE traffic_hours_default PARTITION OF traffic_hours DEFAULT;

-- The last move from Redis, so that none is added twice.
CREATE TABLE traffic_moves (
    is_last boolean PRIMARY KEY DEFAULT true CHECK (is_last),
    move    text NOT NULL
);
INSERT INTO traffic_moves (move) VALUES ('');

-- The last refusals: a sample of a flood, and no value that a client sent.
CREATE TABLE refusals (
    number       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL,
    request_id   text NOT NULL,
    connector_id bigint, -- null: no connector is known
    key_id       text, -- of a 401: the key or hook, if it is or was a connector's
    reason       text, -- of a 401
    route        text NOT NULL,
    stream       text,
    code         text NOT NULL,
    path         text,
    message      text NOT NULL,
    "limit"      bigint,
    observed     bigint,
    skipped      bigint NOT NULL -- further refusals of this connector at that time, which were only counted
);

-- Keys and hooks that are a connector's no more, so that a refusal can name the client that still uses one.
CREATE TABLE former_keys (
    key_id       text PRIMARY KEY,
    connector_id bigint NOT NULL,
    reason       text NOT NULL,
    ended_at     timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION remember_key() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO former_keys (key_id, connector_id, reason)
    VALUES (to_jsonb(OLD) ->> TG_ARGV[0], OLD.connector_id, CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'rotated' END)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER credentials_remember_key AFTER DELETE OR UPDATE OF key_id ON credentials
    FOR EACH ROW EXECUTE FUNCTION remember_key('key_id');
CREATE TRIGGER hooks_remember_key AFTER DELETE ON hooks
    FOR EACH ROW EXECUTE FUNCTION remember_key('hook_id');
