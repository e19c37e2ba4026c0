/** A connector that puts numbers, tells those that are flushed, and is killed: `killed.ts URL OUTBOX FIRST`. */

import { Connector } from "../src/index.ts";

const [url = "", outbox = "", first = "0"] = process.argv.slice(2);
const key = process.env["INSPIRE_INGEST_KEY"] ?? "ik_test";
const connector = new Connector(url, key, { outbox, heartbeatSeconds: 0, batchItems: 7, onWarning: () => {} });
if (process.argv[5]) connector.exitOnSignal();
const pause = Number(process.env["PAUSE"] ?? 0) * 1000;
const numbers = connector.stream("numbers");
for (let number = Number(first); ; number += 1) {
  await numbers.put({ id: number });
  if (number % 5 === 4) {
    await numbers.flush();
    console.log(number);
    if (pause) await new Promise((done) => setTimeout(done, pause));
  }
}
