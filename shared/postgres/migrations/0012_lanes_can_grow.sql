-- Lets the number of lanes be doubled while submissions arrive: each lane is split, and a new lane takes half of its
-- connectors. Processes of the version before can't work with doubled lanes; they are refused, and lose nothing.

ALTER TABLE lanes
    -- Lane that had this one's connectors before; null of the first lanes.
    ADD COLUMN split_from smallint REFERENCES lanes,
    -- Up to this version, what these connectors sent is in the former lane; null until that one was closed to them.
    ADD COLUMN split_version bigint,
    -- When it was closed to them.
    ADD COLUMN split_at timestamptz,
    -- Whether something of that may still wait there: nothing of this lane is applied before.
    ADD COLUMN waits boolean NOT NULL DEFAULT false;

-- Lane in which the API looks for a hook, by the hook's id; null: that of its connector.
ALTER TABLE hooks ADD COLUMN lane smallint REFERENCES lanes;
CREATE INDEX hooks_lane ON hooks (lane) WHERE lane IS NOT NULL;

CREATE OR REPLACE FUNCTION claim_lane(claimed smallint, known_applied bigint, known_dead bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM lanes
    WHERE lane = claimed AND applied_version = known_applied AND dead_version = known_dead AND NOT waits
    FOR UPDATE NOWAIT;
    IF NOT FOUND THEN
        RAISE lock_not_available
            USING MESSAGE = format('lane %s was moved on by another drain, or waits for a former lane', claimed);
    END IF;
END $$;

-- Returns the lane in which a submission with this version was accepted, of a connector that is in `last_lane` now.
CREATE FUNCTION lane_at(last_lane smallint, wanted bigint) RETURNS smallint
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    found_lane smallint := last_lane;
    former smallint;
BEGIN
    LOOP
        SELECT split_from INTO former FROM lanes
        WHERE lane = found_lane AND coalesce(split_version >= wanted, true);
        EXIT WHEN former IS NULL;
        found_lane := former;
    END LOOP;
    RETURN found_lane;
END $$;

-- A hook may be in two lanes: a change of its connector concerns both.
CREATE OR REPLACE FUNCTION renew_credential_revision() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO credential_revisions (lane, revision)
    SELECT concerned.lane, gen_random_uuid()
    FROM (
        SELECT NEW.lane
        UNION
        SELECT hooks.lane FROM hooks WHERE hooks.connector_id = NEW.connector_id AND hooks.lane IS NOT NULL
    ) AS concerned (lane)
    ORDER BY concerned.lane
    ON CONFLICT (lane) DO UPDATE SET revision = excluded.revision;
    RETURN NULL;
END $$;
