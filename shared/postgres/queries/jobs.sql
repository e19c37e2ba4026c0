-- Long work of the operations API.

-- name: insert_job
-- Records that a job starts.
INSERT INTO jobs (action, actor, total) VALUES (%(action)s, %(actor)s, %(total)s) RETURNING job_id;

-- name: update_job
-- Records how far a job is, and how it ended.
UPDATE jobs
SET progress = %(progress)s::jsonb, state = %(state)s, message = %(message)s, updated_at = now(),
    finished_at = CASE WHEN %(state)s = 'running' THEN NULL ELSE now() END
WHERE job_id = %(job_id)s;

-- name: select_jobs
-- The newest jobs below one, or one of them. A job that has not told anything for long was lost with its process.
SELECT job_id, action, actor, total, progress, message, started_at, updated_at, finished_at,
       CASE WHEN state = 'running' AND updated_at < now() - interval '2 minutes' THEN 'lost' ELSE state END AS state
FROM jobs
WHERE (%(job_id)s::bigint IS NULL OR job_id = %(job_id)s) AND (%(before)s::bigint IS NULL OR job_id < %(before)s)
ORDER BY job_id DESC
LIMIT %(limit)s;
