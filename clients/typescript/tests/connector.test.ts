import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { Connector, type Item, type Options } from "../src/index.ts";
import { ConfigurationError, Closed, CredentialRefused, Dead, InvalidRow, NotNow, NotSent, OutboxFull, RowsRejected } from "../src/index.ts";
import { Service, refused } from "./service.ts";

function open(t: TestContext, options: Options = {}): { service: Service; connector: Connector; warnings: string[] } {
  const service = new Service();
  const warnings: string[] = [];
  const quick = { heartbeatSeconds: 0, batchSeconds: 0.02, fetch: service.fetch, onWarning: (text: string) => warnings.push(text) };
  const connector = new Connector("http://service/", "ik_test", { ...quick, ...options });
  t.after(() => connector.close({ timeoutSeconds: 0 }));
  return { service, connector, warnings };
}

function items(count: number, first = 0): Item[] {
  return Array.from({ length: count }, (_, index) => ({ id: first + index, fields: { n: first + index } }));
}

const now = { "Retry-After": "0" };

test("rows arrive in order, in batches, one at a time", async (t) => {
  const { service, connector } = open(t, { batchItems: 100, batchSeconds: 60 });
  const agents = connector.stream("agents");
  for (const item of items(1_050)) await agents.put(item);
  await agents.delete(7);
  await agents.flush();

  assert.deepEqual(service.ids, [...items(1_050).map((item) => String(item.id)), "7"]);
  assert.deepEqual(service.rows.at(-1), { id: "7", deleted: true });
  assert.equal(service.submissions().length, 11);
  assert.equal(service.mostInFlight, 1);
  assert.equal(agents.result.items, 1_051);
  assert.equal(agents.result.batches, 11);
  assert.equal(agents.result.requestIds.length, 11);
});

test("a batch is sent when it is large or old", async (t) => {
  const { service, connector } = open(t, { batchBytes: 1_000 });
  const agents = connector.stream("agents");
  for (let n = 0; n < 4; n += 1) await agents.put({ id: n, fields: { text: "x".repeat(600) } });
  while (service.rows.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(service.submissions().length, 4);
});

test("calls that are not awaited keep their order, also while there is no room", async (t) => {
  const { service, connector } = open(t, { outboxBytes: 2_000, batchItems: 10 });
  const agents = connector.stream("agents");
  await Promise.all([...items(500).map((item) => agents.put(item)), agents.flush()]);
  assert.deepEqual(service.ids, items(500).map((item) => String(item.id)));
});

test("a repeat keeps its key, and a lost answer doubles nothing", async (t) => {
  const { service, connector } = open(t);
  service.replies = [refused(503, "overloaded", {}, now), "lost", refused(429, "rate_limited", {}, now)];
  const agents = connector.stream("agents");
  await agents.put({ id: "a" });
  await agents.flush();

  assert.deepEqual(service.ids, ["a"]);
  assert.equal(service.seen.length, 4);
  assert.equal(new Set(service.seen.map((seen) => seen.key)).size, 1);
  assert.equal(new Set(service.seen.map((seen) => seen.body)).size, 1);
  assert.equal(agents.result.retries, 3);
});

test("a refused credential stops everything, and close returns what is unsent", async (t) => {
  const { service, connector } = open(t);
  service.replies = [refused(401, "unauthorized")];
  await connector.stream("agents").put({ id: 1n, fields: { big: 2n ** 70n } });
  await assert.rejects(connector.stream("agents").flush(), CredentialRefused);
  await assert.rejects(connector.stream("queues").put({ id: "b" }), CredentialRefused);
  assert.equal(service.seen.length, 1);

  const unsent = await connector.close({ timeoutSeconds: 5 });
  assert.deepEqual(unsent, { items: 1, batches: 1, onDisk: false, rows: [`{"id":"1","fields":{"big":${2n ** 70n}}}`] });
});

test("a stream that is refused stops alone", async (t) => {
  const { service, connector } = open(t);
  service.replies = [refused(409, "invalid_stream", { path: "$.stream" })];
  await connector.stream("a b").put({ id: 1 });
  await assert.rejects(connector.stream("a b").flush(), { code: "invalid_stream", status: 409, requestId: "req_zz" });
  await connector.stream("agents").put({ id: 2 });
  await connector.stream("agents").flush();
  assert.deepEqual(service.ids, ["2"]);
});

test("413 splits a batch and keeps the order", async (t) => {
  const { service, connector } = open(t);
  service.maxItems = 3;
  const agents = connector.stream("agents");
  for (const item of items(20)) await agents.put(item);
  await agents.flush();
  assert.deepEqual(service.ids, items(20).map((item) => String(item.id)));
});

for (const namesFaults of [true, false]) {
  test(`bad rows are cut out and told, faults ${namesFaults ? "named" : "not named"}`, async (t) => {
    const { service, connector, warnings } = open(t);
    service.namesFaults = namesFaults;
    const agents = connector.stream("agents");
    const bad = new Set([0, 7, 8, 31, 99]);
    for (const item of items(100)) await agents.put(bad.has(Number(item.id)) ? { ...item, fields: { bad: 1 } } : item);
    await assert.rejects(agents.flush(), (error: RowsRejected) => error instanceof RowsRejected && error.count === 5);

    assert.equal(service.rows.length, 95);
    assert.deepEqual(service.ids, items(100).map((item) => String(item.id)).filter((id) => !bad.has(Number(id))));
    assert.deepEqual(new Set(agents.result.rejected.map((row) => row.id)), new Set([...bad].map(String)));
    const told = agents.result.rejected.find((row) => row.id === "31");
    assert.equal(told?.json, '{"id":"31","fields":{"bad":1}}');
    assert.equal(told?.code, "nul_character");
    assert.equal(told?.path?.endsWith(".fields.bad") ?? false, namesFaults);
    assert.ok(warnings.length > 0);
    await agents.flush(); // they are told once
  });
}

test("rows without a JSON form throw, or are told", async (t) => {
  const strict = open(t).connector.stream("agents");
  await assert.rejects(strict.put({ id: "a", fields: { n: NaN } }), InvalidRow);
  const { service, connector } = open(t, { onRejected: "collect" });
  const agents = connector.stream("agents");
  await agents.put({ id: "a", fields: { n: undefined as never } });
  await agents.put({ id: "b" });
  await agents.flush();
  assert.deepEqual(service.ids, ["b"]);
  assert.equal(agents.result.rejected[0]?.code, "not_encodable");
  assert.equal(agents.result.rejected[0]?.id, "a");
});

test("push tells of each accepted batch", async (t) => {
  const { service, connector } = open(t, { batchItems: 10 });
  const acks = [];
  for await (const ack of connector.push("agents", items(25))) acks.push(ack);
  assert.deepEqual(acks.map((ack) => ack.items), [10, 10, 5]);
  assert.deepEqual(acks.map((ack) => ack.requestId), connector.stream("agents").result.requestIds);
  assert.equal(service.rows.length, 25);
});

test("a retain follows the rows that were put before", async (t) => {
  const { service, connector } = open(t);
  await connector.stream("agents").put({ id: 1 });
  await connector.retain("agents", [1, 2n, "x"], { atMost: 0 });
  await connector.retain("agents", new Set<string>(), { atMost: 5 });
  await connector.stream("agents").flush();
  assert.deepEqual(service.seen.map((seen) => seen.path), ["/api/ingest", "/api/ingest/retain", "/api/ingest/retain"]);
  assert.deepEqual(service.retained[0], { stream: "agents", ids: ["1", "2", "x"], atMost: 0 });
  assert.deepEqual(service.retained[1], { stream: "agents", ids: [], atMost: 5 });
});

test("an empty retain that is unsent is told", async (t) => {
  const { service, connector } = open(t);
  service.replies = [refused(503, "overloaded", {}, { "Retry-After": "60" })];
  await connector.retain("agents", []);
  await connector.close({ timeoutSeconds: 0 });
  await assert.rejects(async () => connector[Symbol.asyncDispose](), NotSent);
});

test("log entries are sent, and dropped rather than waited for", async (t) => {
  const { service, connector } = open(t, { outboxBytes: 20_000 });
  for (let n = 0; n < 1_500; n += 1) connector.log("info", `message ${n}`, { n });
  assert.equal((await connector.close()).items, 0);
  assert.ok(service.entries.length >= 1_000 && service.entries.length <= 1_500, String(service.entries.length));
  assert.equal(service.entries[0].message, "message 0");
  assert.doesNotThrow(() => connector.log("info", "after the end"));
});

test("the configuration is published once and read again by its ETag", async (t) => {
  const { service, connector } = open(t);
  assert.deepEqual(await connector.config({ poll: 60 }), { poll: 60 });
  assert.equal(service.published, '{"poll":60}');
  await connector.config({ poll: 60 });
  assert.deepEqual(service.seen.map((seen) => seen.method), ["GET", "PUT", "GET"]);
  service.managed = '{"poll":5,"more":true}';
  assert.deepEqual(await connector.config({ poll: 60, retries: 3 }), { poll: 5, retries: 3, more: true });
});

test("a heartbeat is sent when nothing was accepted for a while", async (t) => {
  const { service, connector } = open(t, { heartbeatSeconds: 0.02 });
  while (service.submissions("/api/ingest/heartbeat").length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.match(await connector.heartbeat(), /^req_/);
  assert.equal(new Set(service.seen.map((seen) => seen.key)).size, service.seen.length);
});

test("flush can wait until rows are applied, and tells what died", async (t) => {
  const { service, connector } = open(t);
  const agents = connector.stream("agents");
  await agents.put({ id: 1 });
  await agents.flush({ wait: "applied" });
  service.states.set("req_00000000000001", "dead");
  await agents.put({ id: 2 });
  await assert.rejects(agents.flush({ wait: "applied" }), (error: Dead) => error instanceof Dead && error.reason === "22P05");
  assert.equal((await connector.request("req_00000000000001")).isFinal, true);
});

test("a flush that takes too long is NotNow, and its rows are sent later", async (t) => {
  const { service, connector } = open(t);
  service.replies = [refused(503, "overloaded", {}, { "Retry-After": "1" })];
  const agents = connector.stream("agents");
  await agents.put({ id: 1 });
  await assert.rejects(agents.flush({ timeoutSeconds: 0.05 }), NotNow);
  await agents.flush();
  assert.deepEqual(service.ids, ["1"]);
});

test("an outbox without room makes put wait, or throw after roomSeconds", async (t) => {
  const { service, connector } = open(t, { outboxBytes: 500, batchItems: 5, roomSeconds: 0.05 });
  service.replies = ["hang"];
  const agents = connector.stream("agents");
  await assert.rejects(async () => {
    for (const item of items(1_000)) await agents.put(item);
  }, OutboxFull);
});

test("close ends what is on its way, tells what is unsent, and is final", async (t) => {
  const { service, connector } = open(t);
  service.replies = ["hang"];
  await connector.stream("agents").put({ id: 1 });
  await connector.stream("agents").put({ id: 2 });
  const unsent = await connector.close({ timeoutSeconds: 0.05 });
  assert.deepEqual([unsent.items, unsent.rows.length, unsent.onDisk], [2, 2, false]);
  assert.equal(await connector.close(), unsent);
  await assert.rejects(connector.stream("agents").put({ id: 3 }), Closed);
  await assert.rejects(async () => connector[Symbol.asyncDispose](), NotSent);
});

test("the end of a block sends what waits and throws rejected rows", async (t) => {
  const { service } = open(t);
  await assert.rejects(async () => {
    await using connector = new Connector("http://service", "ik_test", { fetch: service.fetch, onWarning: () => {} });
    await connector.stream("agents").put({ id: 1 });
    await connector.stream("agents").put({ id: 2, fields: { bad: 1 } });
  }, RowsRejected);
  assert.deepEqual(service.ids, ["1"]);
});

test("a redirect is not followed", async (t) => {
  const { connector, service } = open(t);
  service.replies = [new Response(null, { status: 302, headers: { Location: "/elsewhere" } })];
  await connector.stream("agents").put({ id: 1 });
  await assert.rejects(connector.stream("agents").flush(), { status: 302, message: /base URL/ });
});

test("an address or credential that can't be one is refused at once", () => {
  for (const url of ["", "service", "ftp://service", "https://"]) {
    assert.throws(() => new Connector(url, "ik_test"), ConfigurationError);
  }
  assert.throws(() => new Connector("http://service", "ik_\n"), ConfigurationError);
  assert.throws(() => Connector.fromEnv(), { name: "ConfigurationError", message: /INSPIRE_BASE_URL is not set/ });
});
