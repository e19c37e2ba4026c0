-- What connectors log, and their configurations.

-- An entry is keyed by its submission and its place in it: it appears once, however often it is delivered.
CREATE TABLE connector_logs (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    index        integer NOT NULL,
    logged_at    timestamptz NOT NULL,
    level        text NOT NULL CHECK (level IN ('trace', 'debug', 'info', 'warn', 'error', 'fatal')),
    message      text NOT NULL,
    context      jsonb NOT NULL,
    PRIMARY KEY (connector_id, version, index)
) PARTITION BY RANGE (version);
CREATE TABLE connector_logs_default PARTITION OF connector_logs DEFAULT;

-- Both are JSON objects as text: what was published or set is given back as it came.
CREATE TABLE connector_configurations (
    connector_id bigint PRIMARY KEY REFERENCES connectors,
    published    text, -- by the connector itself
    managed      text  -- by operators; the one that counts
);

CREATE INDEX receipts_version ON receipts (version); -- for `ingestctl trace`, which has no connector to go by
CREATE INDEX dead_letters_version ON dead_letters (version); -- likewise
