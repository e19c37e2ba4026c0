/** A connector that puts numbers, tells those that are flushed, and is killed: `killed.ts URL OUTBOX FIRST`. */

import { Connector } from "../src/index.ts";

const [url = "", outbox = "", first = "0"] = process.argv.slice(2);
const key = process.env["INSPIRE_INGEST_KEY"] ?? "ik_test";
const onWarning = (said: string) => console.error(new Date().toISOString(), said);
// So small that what waits is sent within seconds after a long outage, and that the outbox is full during one.
const outboxBytes = 65_536;
const connector = new Connector(url, key, { outbox, outboxBytes, heartbeatSeconds: 0, batchItems: 7, onWarning });
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
