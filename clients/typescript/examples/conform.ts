/** Send JSON lines from stdin as items of the stream `conform`: what `inspire conform -- node conform.ts` judges. */

import { createInterface } from "node:readline";

import { Connector, type Item } from "inspire-ingest";

const seconds = Number(process.env["INSPIRE_CONFORM_SECONDS"] ?? 60);
const connector = Connector.fromEnv({ onRejected: "collect", heartbeatSeconds: seconds });
connector.exitOnSignal();
await connector.config({ poll: seconds });
setInterval(() => connector.config().catch((error: unknown) => connector.log("warn", String(error))), seconds * 1000).unref();
const items = connector.stream("conform");
for await (const line of createInterface({ input: process.stdin })) {
  const { deleted, ...item } = JSON.parse(line) as Item & { deleted?: boolean };
  await (deleted ? items.delete(item.id) : items.put(item));
}
await items.flush();
process.exitCode = (await connector.close()).items ? 1 : 0;
