// The worker: one job, one statement, which is one transaction.
import { Worker } from "bullmq";
import { postgres, QUEUE, redis } from "./connections.js";

// Enough to hide the round trips and the fsyncs; 10, 20 and 50 did not differ beyond noise.
const CONCURRENCY = Number(process.env.CONCURRENCY ?? 20);

// The request's row and its items in one statement and one round trip. A request that was applied before writes nothing.
const APPLY = `
WITH request AS (
    INSERT INTO peers.requests (id, connector_id, items) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO NOTHING RETURNING id
)
INSERT INTO peers.items (connector_id, stream, id, name, fields, tags, version)
SELECT $2, $4, row.id, row.name, row.fields, row.tags, $5
FROM request, unnest($6::text[], $7::text[], $8::jsonb[], $9::jsonb[]) AS row (id, name, fields, tags)
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags, version = excluded.version, updated_at = now()
WHERE items.version < excluded.version`;

const pool = postgres(CONCURRENCY);

async function apply(job) {
  const { connectorId, stream, items, version } = job.data;
  // The last one of several items with one id counts; in the order of ids, so that two jobs never deadlock.
  const rows = [...new Map(items.map((item) => [item.id, item])).values()];
  rows.sort((one, other) => (one.id < other.id ? -1 : 1));
  await pool.query({
    name: "apply",
    text: APPLY,
    values: [
      job.id,
      connectorId,
      items.length,
      stream,
      version,
      rows.map((row) => row.id),
      rows.map((row) => row.name ?? null),
      rows.map((row) => JSON.stringify(row.fields ?? {})),
      rows.map((row) => JSON.stringify(row.tags ?? {})),
    ],
  });
}

const worker = new Worker(QUEUE, apply, {
  // BullMQ's guide to production advises a worker that waits for a Redis that is away.
  connection: redis({ maxRetriesPerRequest: null }),
  concurrency: CONCURRENCY,
  removeOnComplete: { count: 0 },
});
worker.on("error", (error) => console.error(error));
worker.on("failed", (job, error) => console.error(job?.id, error));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    await worker.close();
    await pool.end();
    process.exit(0);
  });
}
