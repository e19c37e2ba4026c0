-- The tables of every peer: the same keys and columns as ours, so that the rows weigh the same.
DROP SCHEMA IF EXISTS peers CASCADE;
CREATE SCHEMA peers;

CREATE TABLE peers.connectors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_hash text NOT NULL UNIQUE
);

CREATE TABLE peers.items (
    connector_id bigint NOT NULL,
    stream text NOT NULL,
    id text NOT NULL,
    name text,
    fields jsonb NOT NULL,
    tags jsonb NOT NULL,
    -- When the API received it, microseconds: no queue here keeps an order, so the newest wins.
    version bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connector_id, stream, id)
);

-- Written in the transaction of its items: what is here was applied, and is not applied twice.
CREATE TABLE peers.requests (
    id text PRIMARY KEY,
    connector_id bigint NOT NULL,
    items integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
