import assert from "node:assert/strict";
import { test } from "node:test";

import { CredentialRefused } from "../src/errors.ts";
import { type Advice, Answer, advice, faultyRows, pause, refusal } from "../src/exchange.ts";

function answer(status: number, code?: string, more: object = {}): Answer {
  const error = { code, message: "A sentence.", ...more };
  const document = status === 202 ? { requestId: "req_1" } : { requestId: "req_1", error };
  return new Answer(status, code === undefined && status !== 202 ? "<html>" : JSON.stringify(document));
}

const TABLE: [Advice, Answer][] = [
  ["forget", answer(202)],
  ["stop", new Answer(202, "<html>a captive portal</html>")],
  ["stop", answer(200)],
  ["stop", answer(302)],
  ["stop", answer(401, "unauthorized")],
  ["stop", answer(403)],
  ["stop", answer(404, "not_found")],
  ["stop", answer(409, "invalid_stream", { path: "$.stream" })],
  ["stop", answer(501)],
  ["retry", new Answer(0, "fetch failed")],
  ["retry", answer(408, "body_timeout")],
  ["retry", answer(400, "incomplete_body")],
  ["retry", answer(429, "rate_limited")],
  ["retry", answer(500)],
  ["retry", answer(503, "overloaded")],
  ["retry", answer(599)],
  ["cut", answer(409, "invalid_id", { path: "$.items[3].id" })],
  ["cut", answer(409, "invalid_level", { path: "$.entries[0].level" })],
  ["split", answer(413)],
  ["split", answer(413, "body_too_large")],
  ["split", answer(400, "invalid_json")],
  ["split", answer(409, "invalid_id", { path: "$.ids[3]" })],
  ["renew", answer(409, "idempotency_key_reused")],
];

for (const [expected, given] of TABLE) {
  test(`after ${given} a batch is to be: ${expected}`, () => assert.equal(advice(given), expected));
}

test("each row that a refusal names is found once", () => {
  const faults = [{ path: "$.items[1].id" }, { path: "$.items[4]", limit: 3 }];
  const found = faultyRows(answer(409, "invalid_id", { path: "$.items[1].id", faults }));
  assert.deepEqual([...found.keys()], [1, 4]);
});

test("pauses follow Retry-After with jitter, or grow", () => {
  const asked = (value: string) => new Answer(503, "", new Headers({ "retry-after": value }));
  assert.equal(pause(asked("4"), 0, 0), 4);
  assert.equal(pause(asked("4"), 9, 1), 5);
  assert.equal(pause(asked("86400"), 0, 0), 300);
  const dated = pause(asked(new Date(Date.now() + 10_000).toUTCString()), 0, 0);
  assert.ok(dated > 8 && dated <= 10, String(dated));
  assert.equal(pause(new Answer(503), 0, 1), 0.25);
  assert.equal(pause(new Answer(503), 0, 0), 0.125);
  assert.equal(pause(new Answer(503), 2_000, 1), 30);
});

test("refusals are told with a remedy", () => {
  assert.ok(refusal(answer(401)) instanceof CredentialRefused);
  assert.match(refusal(answer(401)).message, /INSPIRE_INGEST_KEY/);
  assert.match(refusal(answer(404)).message, /base URL/);
  assert.equal(refusal(answer(409, "invalid_id")).requestId, "req_1");
});
