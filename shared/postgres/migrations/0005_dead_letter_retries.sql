-- Lets operators mark dead letters for a retry, which the drain of their lane then makes. Workers of the version before
-- may go on meanwhile: they ignore the mark, and it waits for one of this version.

ALTER TABLE dead_letters ADD COLUMN retry_requested_at timestamptz;

-- For the workers, who read a lane's marked letters in order, and for the sweeper, which looks once a second. It holds
-- nothing while nothing is marked.
CREATE INDEX dead_letters_retry ON dead_letters (lane, version) WHERE retry_requested_at IS NOT NULL;

-- Locks dead letters for one transaction that applies them, or fails at once: if an operator dropped one of them since
-- it was read, it must not be applied, nor come back as a letter.
CREATE FUNCTION claim_dead_letters(claimed_connector_ids bigint[], claimed_versions bigint[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    found_letters bigint;
BEGIN
    PERFORM FROM dead_letters
    JOIN unnest(claimed_connector_ids, claimed_versions) AS claimed (connector_id, version)
      ON dead_letters.connector_id = claimed.connector_id AND dead_letters.version = claimed.version
    FOR UPDATE OF dead_letters NOWAIT;
    GET DIAGNOSTICS found_letters = ROW_COUNT;
    IF found_letters < cardinality(claimed_versions) THEN
        RAISE lock_not_available USING MESSAGE = 'a dead letter was dropped before its retry';
    END IF;
END $$;
