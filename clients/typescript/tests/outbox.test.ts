import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { Connector, OutboxFailed } from "../src/index.ts";
import { Service } from "./service.ts";

const quick = { heartbeatSeconds: 0, batchSeconds: 0.01, batchItems: 10, onWarning: () => {} };

function file(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "outbox-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return join(folder, "outbox.db");
}

/** Serve over HTTP, for connectors in processes of their own. */
async function serving(t: TestContext): Promise<{ service: Service; url: string }> {
  const service = new Service();
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const headers = request.headers as Record<string, string>;
    const answer = await service.fetch(`http://service${request.url}`, { method: request.method ?? "", headers, body });
    response.writeHead(answer.status).end(await answer.text());
  }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  const address = server.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  return { service, url };
}

test("what was not accepted is sent by the next connector, in order and under its keys", async (t) => {
  const outbox = file(t);
  const away = new Service();
  away.replies = Array(100).fill(new Response("", { status: 503 }));
  const first = new Connector("http://service", "ik_test", { ...quick, batchSeconds: 60, fetch: away.fetch, outbox });
  for (let n = 0; n < 35; n += 1) await first.stream("agents").put({ id: n, fields: { big: 2n ** 80n, text: "é\n" } });
  await first.stream("agents").flush(); // on disk
  const unsent = await first.close({ timeoutSeconds: 0 });
  assert.deepEqual([unsent.items, unsent.batches, unsent.onDisk, unsent.rows], [35, 4, true, []]);
  assert.equal(statSync(outbox).mode & 0o777, 0o600);

  const back = new Service();
  const second = new Connector("http://service", "ik_test", { ...quick, fetch: back.fetch, outbox });
  await second.stream("agents").put({ id: 35 });
  await second.stream("agents").flush({ wait: "accepted" });
  await second.close();
  assert.deepEqual(back.ids, Array.from({ length: 36 }, (_, n) => String(n)));
  assert.equal(back.submissions()[0]?.key, away.submissions()[0]?.key);
  assert.equal(back.submissions()[0]?.body, away.submissions()[0]?.body);
});

test("bad rows and splits work on disk as in memory", async (t) => {
  const service = new Service();
  service.maxItems = 4;
  const connector = new Connector("http://service", "ik_test", { ...quick, fetch: service.fetch, outbox: file(t), onRejected: "collect" });
  const agents = connector.stream("agents");
  for (let n = 0; n < 40; n += 1) await agents.put({ id: n, fields: n % 13 ? {} : { bad: 1 } });
  await agents.flush({ wait: "accepted" });
  await connector.close();
  assert.deepEqual(service.ids, Array.from({ length: 40 }, (_, n) => n).filter((n) => n % 13).map(String));
  assert.equal(agents.result.rejectedItems, 4);
});

test("a file that can't be used is told", async (t) => {
  const outbox = file(t);
  const connector = new Connector("http://service", "ik_test", { ...quick, fetch: new Service().fetch, outbox });
  assert.throws(() => new Connector("http://service", "ik_test", { outbox }), { name: "OutboxFailed", message: /another process/ });
  await connector.close();
  assert.throws(() => new Connector("http://service", "ik_test", { outbox: "/nowhere/outbox.db" }), OutboxFailed);
});

test("SIGTERM sends what was put, while the connector goes on putting", async (t) => {
  const { service, url } = await serving(t);
  const child = spawn(process.execPath, [join(import.meta.dirname, "killed.ts"), url, file(t), "0", "exits"]);
  const told = (async () => {
    let last = -1;
    for await (const chunk of child.stdout) {
      last = Math.max(last, ...String(chunk).trim().split("\n").map(Number));
      if (!child.killed) child.kill("SIGTERM"); // a second one would end it at once
    }
    return last;
  })();
  const [[code], last] = await Promise.all([once(child, "exit"), told]);
  assert.equal(code, 143);
  assert.ok(service.rows.length > last, `${service.rows.length} of ${last + 1}`);
  assert.deepEqual(service.ids, service.ids.map((_, n) => String(n)));
});

test("a request that hangs is repeated under its key", async (t) => {
  const { service, url } = await serving(t);
  service.replies = ["hang"];
  const connector = new Connector(url, "ik_test", { ...quick, requestSeconds: 0.1 });
  await connector.stream("agents").put({ id: 1 });
  await connector.stream("agents").flush();
  await connector.close();
  assert.deepEqual(service.ids, ["1"]);
  const keys = service.submissions().map((seen) => seen.key);
  assert.ok(keys.length > 1 && new Set(keys).size === 1, keys.join());
});

test("a killed connector has lost nothing that was flushed, and doubles nothing", async (t) => {
  const outbox = file(t);
  const { service, url } = await serving(t);
  let flushed = -1;
  for (let life = 0; life < 3; life += 1) {
    const child = spawn(process.execPath, [join(import.meta.dirname, "killed.ts"), url, outbox, String(flushed + 1)]);
    for await (const chunk of child.stdout) {
      flushed = Math.max(flushed, ...String(chunk).trim().split("\n").map(Number));
      if (flushed >= (life + 1) * 40) child.kill("SIGKILL");
    }
  }
  const last = new Connector(url, "ik_test", { ...quick, outbox });
  await last.stream("numbers").flush({ wait: "accepted" });
  await last.close();

  const sent = service.ids.map(Number);
  const distinct = [...new Set(sent)];
  assert.deepEqual(distinct.slice(0, flushed + 1), Array.from({ length: flushed + 1 }, (_, n) => n));
  const bodies = new Map(service.submissions().map((seen) => [seen.key, seen.body]));
  assert.ok(service.submissions().every((seen) => bodies.get(seen.key) === seen.body));
});
