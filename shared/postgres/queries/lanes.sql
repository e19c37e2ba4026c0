-- The lanes.

-- name: insert_lanes
-- Chooses the number of lanes, once: if there are lanes already, nothing happens.
INSERT INTO lanes (lane)
SELECT generate_series(0, %(lanes)s - 1)
WHERE NOT EXISTS (SELECT FROM lanes);

-- name: count_lanes
-- How many lanes there are.
SELECT count(*)::int AS lanes FROM lanes;

-- name: select_layout
-- The same, when they were last doubled, and whether a new one does not take submissions yet.
SELECT count(*)::int AS lanes, extract(epoch FROM max(split_at))::bigint AS doubled_at,
       bool_or(split_from IS NOT NULL AND split_at IS NULL) AS is_splitting
FROM lanes;

-- name: keep_lanes
-- Keeps lanes from being doubled until the transaction, which changes connectors, ends.
LOCK TABLE connectors IN ROW EXCLUSIVE MODE;

-- name: lock_all_connectors
-- Waits for changes of connectors, and keeps others waiting until the transaction ends.
LOCK TABLE connectors IN EXCLUSIVE MODE;

-- name: double_lanes
-- Adds a lane for each one, which takes half of its connectors. It waits from the start: if Postgres was restored to a
-- state of before an earlier doubling, its stream holds what was sent after what waits in the former lane.
INSERT INTO lanes (lane, split_from, waits)
SELECT lane + (SELECT count(*) FROM lanes), lane, true
FROM lanes;

-- name: select_lanes_of_keys
-- By which ids connectors and hooks are found, and in which lanes they are.
SELECT connector_id, key_id AS id, lane, false AS is_hook
FROM connectors
JOIN credentials USING (connector_id)
UNION ALL
SELECT connector_id, hook_id, connectors.lane, true
FROM hooks
JOIN connectors USING (connector_id);

-- name: move_connectors
-- Moves connectors to other lanes.
UPDATE connectors
SET lane = moved.lane
FROM unnest(%(connector_ids)s::bigint[], %(lanes)s::smallint[]) AS moved (connector_id, lane)
WHERE connectors.connector_id = moved.connector_id;

-- name: move_hooks
-- Stores in which lane the API looks for each hook.
UPDATE hooks
SET lane = moved.lane
FROM unnest(%(hook_ids)s::text[], %(lanes)s::smallint[]) AS moved (hook_id, lane)
WHERE hooks.hook_id = moved.hook_id;

-- name: select_unfinished_lanes
-- Lanes that are being split, and what is known of their former lanes.
SELECT lanes.lane, lanes.split_from, lanes.split_version,
       greatest(former.applied_version, former.dead_version) AS former_version,
       (SELECT count(*) FROM lanes)::int AS number
FROM lanes
JOIN lanes AS former ON former.lane = lanes.split_from
WHERE lanes.waits
ORDER BY lanes.lane;

-- name: select_former_lanes
-- A lane, and those that had its connectors before the lanes were doubled, the oldest first.
WITH RECURSIVE former AS (
    SELECT lane, split_from FROM lanes WHERE lane = %(lane)s
    UNION ALL
    SELECT lanes.lane, lanes.split_from FROM lanes JOIN former ON lanes.lane = former.split_from
)
SELECT lane FROM former ORDER BY lane;

-- name: split_lane
-- Stores up to which version a lane's connectors are in their former lane. What is above is newer than all of it; rows
-- below may still be overtaken by a dead letter.
UPDATE lanes
SET split_version = %(version)s, split_at = now(),
    applied_version = greatest(applied_version, %(version)s), dead_version = greatest(dead_version, %(version)s)
WHERE lane = %(lane)s AND split_version IS NULL;

-- name: end_wait
-- Lets drains write to a lane: nothing of its connectors waits in the former one.
UPDATE lanes SET waits = false WHERE lane = %(lane)s AND split_version = %(version)s;

-- name: select_watermarks
-- How far a lane has come: the highest versions applied, and dead-lettered; whether it has to wait.
SELECT applied_version AS applied, dead_version AS dead, waits FROM lanes WHERE lane = %(lane)s;

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
