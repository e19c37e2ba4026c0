/** Send a CSV file as the items of a stream: `node push_csv.ts FILE STREAM ID_COLUMN [NAME_COLUMN]`. */

import { createReadStream } from "node:fs";

import { Connector, type Item } from "inspire-ingest";

import { parseCsv } from "./csv.ts";

const [file = "", stream = "", idColumn = "", nameColumn] = process.argv.slice(2);
const started = performance.now();
const seconds = () => ((performance.now() - started) / 1000).toFixed(1);

const connector = Connector.fromEnv({ onRejected: "collect" });
connector.exitOnSignal();
const items = connector.stream(stream);
for await (const item of rows()) await items.put(item);
await items.flush();
console.log(`${items.result.items} accepted, ${items.result.rejectedItems} rejected in ${seconds()} s`);
await items.flush({ wait: "applied" });
console.log(`All are applied after ${seconds()} s.`);
for (const { id, message } of items.result.rejected) console.error(`${id}: ${message}`);
await connector.close();

async function* rows(): AsyncGenerator<Item> {
  let head: string[] | undefined;
  for await (const cells of parseCsv(createReadStream(file, "utf8"))) {
    if (!head) {
      head = cells;
      if (!head.includes(idColumn)) throw new Error(`There is no column ${idColumn}: name one of ${head.join(", ")}.`);
      continue;
    }
    const fields = Object.fromEntries(head.map((name, index) => [name, cells[index] ?? null]));
    const { [idColumn]: id, [nameColumn ?? ""]: name, ...others } = fields;
    yield { id: id ?? "", name: name ?? null, fields: others };
  }
}
