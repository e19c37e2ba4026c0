-- Items that are removed. Workers of the version before have to be stopped first: to them, an item that is deleted is one
-- without fields, and a retried dead letter may bring removed items back.

-- Rows of `items` that an applied submission has removed.
ALTER TABLE receipts ADD COLUMN removed bigint NOT NULL DEFAULT 0 CHECK (removed >= 0);

-- An operator allows the retry of a retain to remove any number of items.
ALTER TABLE dead_letters ADD COLUMN bound_lifted boolean NOT NULL DEFAULT false;

-- Traces of removals, for as long as an older dead letter may bring the items back: which ids were deleted last when,
CREATE TABLE deletions (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    stream       text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    PRIMARY KEY (connector_id, stream, id)
);

-- when a stream was reduced to what was retained,
CREATE TABLE retains (
    connector_id   bigint NOT NULL,
    version        bigint NOT NULL,
    -- The newest dead letter of the connector that was older, at that time.
    letter_version bigint NOT NULL,
    stream         text COLLATE "C" NOT NULL,
    PRIMARY KEY (connector_id, stream, version)
);

-- and what was retained then, but for the items whose rows are newer than every older dead letter.
CREATE TABLE retained_ids (
    connector_id bigint NOT NULL,
    version      bigint NOT NULL,
    stream       text COLLATE "C" NOT NULL,
    id           text COLLATE "C" NOT NULL,
    PRIMARY KEY (connector_id, stream, version, id)
);

-- Ends the transaction of a retain that would remove too many items, which its receipt has counted.
CREATE FUNCTION check_removals(checked_connector_id bigint, checked_version bigint, at_most bigint) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    others bigint;
BEGIN
    SELECT removed INTO others
    FROM receipts
    WHERE connector_id = checked_connector_id AND version = checked_version AND applied_at = now();
    IF others > at_most THEN
        RAISE SQLSTATE '23TMR' USING DETAIL = checked_version,
            MESSAGE = format('%s items would be removed, and `atMost` is %s.', others, at_most);
    END IF;
    UPDATE receipts SET removed = 0
    WHERE connector_id = checked_connector_id AND version = checked_version AND applied_at = now() AND removed > 0;
END $$;
