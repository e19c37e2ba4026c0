-- The lanes.

-- name: insert_lanes
-- Chooses the number of lanes, once: where there are lanes already, nothing happens.
INSERT INTO lanes (lane)
SELECT generate_series(0, %(lanes)s - 1)
WHERE NOT EXISTS (SELECT FROM lanes);

-- name: select_read_only
-- Whether the server takes no writes: a standby, or one that was set so.
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only;

-- name: count_lanes
-- How many lanes there are.
SELECT count(*)::int AS lanes FROM lanes;

-- name: select_applied_version
-- Above what a lane that is created anew has to start.
SELECT applied_version FROM lanes WHERE lane = %(lane)s;

-- name: limit_transactions
-- Bounds each transaction of the session from here on.
SELECT set_config('transaction_timeout', %(milliseconds)s, false);

-- name: select_watermarks
-- How far a lane has come: the highest versions that were applied, and that were put aside as dead.
SELECT applied_version AS applied, dead_version AS dead FROM lanes WHERE lane = %(lane)s;

-- name: lock_lane
-- Fails at once where a drain has the lane in hand.
SELECT FROM lanes WHERE lane = %(lane)s FOR UPDATE NOWAIT;

-- name: claim_lane
-- Keeps a second drain of the lane (an expired lease) from writing beside the first: it fails at once, and leaves.
SELECT claim_lane(%(lane)s::smallint, %(applied)s::bigint, %(dead)s::bigint);

-- name: move_watermarks
-- Remembers how far the lane has come now.
UPDATE lanes SET applied_version = %(applied)s, dead_version = %(dead)s WHERE lane = %(lane)s;

-- name: select_least_used_lane
-- Where the next connector goes: the lane with the fewest.
SELECT lane
FROM lanes
LEFT JOIN connectors USING (lane)
GROUP BY lane
ORDER BY count(connector_id), lane
LIMIT 1;
