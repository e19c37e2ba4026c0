// The API: checks the key, lets Fastify validate the body by its schema, queues a job.
import { createHash, randomUUID } from "node:crypto";
import { Queue } from "bullmq";
import Fastify from "fastify";
import { postgres, QUEUE, redis } from "./connections.js";

const values = {
  type: "object",
  maxProperties: 200,
  propertyNames: { minLength: 1, maxLength: 256 },
  additionalProperties: { type: ["string", "number", "boolean", "null"] },
};
const item = {
  type: "object",
  required: ["id"],
  additionalProperties: false,
  properties: {
    id: { type: "string", minLength: 1, maxLength: 512 },
    name: { type: ["string", "null"], maxLength: 1024 },
    fields: values,
    tags: values,
  },
};
const schema = {
  body: {
    type: "object",
    required: ["stream", "items"],
    additionalProperties: false,
    properties: {
      stream: { type: "string", pattern: "^[A-Za-z0-9._:-]{1,128}$" },
      items: { type: "array", items: item },
    },
  },
  response: {
    202: {
      type: "object",
      properties: {
        status: { type: "string" },
        requestId: { type: "string" },
        itemsReceived: { type: "integer" },
      },
    },
  },
};

const pool = postgres(1);
// BullMQ's guide to production advises a producer that fails fast: the client repeats the request.
const queue = new Queue(QUEUE, {
  connection: redis({ maxRetriesPerRequest: 1, enableOfflineQueue: false }),
  defaultJobOptions: {
    attempts: 10,
    backoff: { type: "exponential", delay: 1000 },
    removeOnComplete: true,
    removeOnFail: 10_000,
  },
});
queue.on("error", (error) => console.error(error));
const connectors = new Map();

async function loadConnectors() {
  const { rows } = await pool.query("SELECT id, key_hash FROM peers.connectors");
  for (const row of rows) connectors.set(row.key_hash, Number(row.id));
}

const app = Fastify({
  logger: false,
  bodyLimit: 30 * 1024 * 1024,
  // No coercion and no silent removal: the contract refuses what does not match.
  ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false, allowUnionTypes: true } },
});
app.decorateRequest("connectorId", 0);

async function authenticate(request, reply) {
  const [scheme, credential] = (request.headers.authorization ?? "").split(" ");
  const hash = createHash("sha256").update(credential ?? "").digest("hex");
  if (!connectors.has(hash)) await loadConnectors();
  if (scheme !== "Bearer" || !connectors.has(hash)) {
    return reply.code(401).header("www-authenticate", "Bearer").send({ status: "error" });
  }
  request.connectorId = connectors.get(hash);
}

app.post("/api/ingest", { schema, onRequest: authenticate }, async (request, reply) => {
  const { stream, items } = request.body;
  const jobId = randomUUID();
  const version = Math.round((performance.timeOrigin + performance.now()) * 1000);
  await queue.add("apply", { connectorId: request.connectorId, stream, items, version }, { jobId });
  reply.code(202);
  return { status: "accepted", requestId: jobId, itemsReceived: items.length };
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, async () => {
    await app.close();
    await queue.close();
    await pool.end();
    process.exit(0);
  });
}
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
