/** Use a service by the generated types: `use_service.ts URL CREDENTIAL`. Prints its answers as JSON lines. */

import createClient from "openapi-fetch";

import type { paths } from "./api.js";

declare const process: { argv: string[] };
const [, , baseUrl = "", credential = ""] = process.argv;
const open = (key: string) => createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const client = open(credential);
const body = { stream: "agents", items: [{ id: "1", name: "Ann", fields: { n: 1, none: null } }, { id: "2" }] };

const ingested = await client.POST("/api/ingest", { body, params: { header: { "Idempotency-Key": "typescript" } } });
const repeated = await client.POST("/api/ingest", { body, params: { header: { "Idempotency-Key": "typescript" } } });
const requestId = ingested.data?.requestId ?? "";
const path = { requestId };
const status = await client.GET("/api/requests/{requestId}", { params: { path, query: { wait: 10 } } });
const entries = [{ level: "info", message: "hello", timestamp: "2026-01-02T03:04:05Z", context: { n: 1 } }] as const;
const answers = {
  ingestItems: ingested,
  repeated,
  getRequestStatus: status,
  ingestRetain: await client.POST("/api/ingest/retain", { body: { stream: "agents", ids: ["1"], atMost: 1 } }),
  ingestLog: await client.POST("/api/ingest/log", { body: { entries: [...entries] } }),
  heartbeat: await client.POST("/api/ingest/heartbeat"),
  publishConfiguration: await client.PUT("/api/connector/config", { body: { configuration: '{"poll":60}' } }),
  getConfiguration: await client.GET("/api/connector/config"),
  refused: await client.POST("/api/ingest", { body: { stream: "agents", items: [{ id: "" }] } }),
  unauthorized: await open("ik_wrong").POST("/api/ingest", { body }),
};
for (const [name, { response, data, error }] of Object.entries(answers)) {
  console.log(JSON.stringify([name, response.status, data ?? error]));
}
