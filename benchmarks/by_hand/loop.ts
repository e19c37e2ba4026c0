/** Send a CSV file as the items of a stream as a loop by hand does: `loop.ts FILE CSV_MODULE`. */

import { createReadStream } from "node:fs";

const { parseCsv } = await import(process.argv[3]);
const headers = { Authorization: `Bearer ${process.env.INSPIRE_INGEST_KEY}`, "Content-Type": "application/json" };
let names;
let items = [];
for await (const cells of parseCsv(createReadStream(process.argv[2], "utf8"))) {
  if (!names) {
    names = cells;
    continue;
  }
  const { id, name, ...fields } = Object.fromEntries(names.map((column, index) => [column, cells[index]]));
  items.push({ id, name, fields });
  if (items.length === 1_000) await send();
}
await send();

async function send() {
  if (!items.length) return;
  const body = JSON.stringify({ stream: "agents", items });
  const key = crypto.randomUUID();
  for (;;) {
    const init = { method: "POST", body, headers: { ...headers, "Idempotency-Key": key } };
    const answer = await fetch(`${process.env.INSPIRE_BASE_URL}/api/ingest`, init);
    await answer.text();
    if (answer.status === 202) break;
    if (![429, 503].includes(answer.status)) throw new Error(String(answer.status));
    await new Promise((done) => setTimeout(done, 1_000));
  }
  items = [];
}
