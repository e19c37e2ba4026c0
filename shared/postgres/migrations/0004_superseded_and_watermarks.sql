-- Counts what a submission did not write, and lets an item that is sent again without a change keep its row. Workers of
-- the version before have to be stopped first: they put letters aside without saying so in the lane's row.

-- Of what was received: how many were not written, because a newer state was there already. Together with the dead
-- letters the receipts balance: accepted = applied + superseded + dead.
ALTER TABLE receipts ADD COLUMN superseded integer NOT NULL DEFAULT 0 CHECK (superseded >= 0);

-- Highest version of the lane that was ever put aside as dead. Only a dead letter can come late, when it is retried; so
-- a row whose version is above this one's can keep it when the same state comes again.
ALTER TABLE lanes ADD COLUMN dead_version bigint NOT NULL DEFAULT 0;
UPDATE lanes
SET dead_version = coalesce((SELECT max(version) FROM dead_letters WHERE dead_letters.lane = lanes.lane), 0);

-- Takes a lane for one transaction, from a drain that knows how far the lane has come. It fails at once where another
-- drain has the lane, or has moved it on since: what the caller decided then rests on what is no longer so.
CREATE FUNCTION claim_lane(claimed smallint, known_applied bigint, known_dead bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM lanes
    WHERE lane = claimed AND applied_version = known_applied AND dead_version = known_dead
    FOR UPDATE NOWAIT;
    IF NOT FOUND THEN
        RAISE lock_not_available USING MESSAGE = format('lane %s was moved on by another drain', claimed);
    END IF;
END $$;
