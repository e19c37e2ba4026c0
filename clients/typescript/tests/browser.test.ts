import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

const PROGRAM = `
  const { Connector } = await import(process.argv[1]);
  const { exit } = process;
  const headers = new Headers();
  for (const name of ["process", "Buffer", "setImmediate", "clearImmediate", "global"]) delete globalThis[name];
  const bodies = [];
  const answer = async (url, { body }) => {
    bodies.push(body);
    // Node's own Response needs Buffer.
    return { status: 202, type: "basic", headers, text: async () => '{"requestId":"req_1"}' };
  };
  const connector = new Connector("https://service", "ik_test", { fetch: answer, heartbeatSeconds: 0, batchItems: 2 });
  for (const id of [1, 2, 3]) await connector.stream("agents").put({ id, fields: { text: "é" } });
  await connector.stream("agents").flush();
  let refusal;
  try { new Connector("https://service", "ik_test", { outbox: "connector.db" }) } catch (error) { refusal = error.name }
  console.log(bodies.length, (await connector.close()).items, refusal);
  exit();
`;

test("without what only Node has, rows are sent from memory and an outbox on disk is refused", () => {
  const source = new URL("../src/index.ts", import.meta.url).href;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", PROGRAM, source], { encoding: "utf8" });
  assert.equal(printed, "2 0 ConfigurationError\n");
});
