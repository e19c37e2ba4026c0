-- The lanes.

-- name: insert_lanes
-- Chooses the number of lanes, once: if there are lanes already, nothing happens.
INSERT INTO lanes (lane)
SELECT generate_series(0, %(lanes)s - 1)
WHERE NOT EXISTS (SELECT FROM lanes);

-- name: count_lanes
-- How many lanes there are.
SELECT count(*)::int AS lanes FROM lanes;

-- name: select_watermarks
-- How far a lane has come: the highest versions applied, and dead-lettered.
SELECT applied_version AS applied, dead_version AS dead FROM lanes WHERE lane = %(lane)s;

-- name: lock_lane
-- Fails at once if a drain is writing to the lane.
SELECT FROM lanes WHERE lane = %(lane)s FOR UPDATE NOWAIT;

-- name: claim_lane
-- Locks the lane for one drain; fails at once for a second one, whose lease expired.
SELECT claim_lane(%(lane)s::smallint, %(applied)s::bigint, %(dead)s::bigint);

-- name: move_watermarks
-- Stores how far the lane has come.
UPDATE lanes SET applied_version = %(applied)s, dead_version = %(dead)s WHERE lane = %(lane)s;

-- name: select_least_used_lane
-- The lane with the fewest connectors, for the next one.
SELECT lane
FROM lanes
LEFT JOIN connectors USING (lane)
GROUP BY lane
ORDER BY count(connector_id), lane
LIMIT 1;
