/** Sending the batches of a lane, one after the other, and single requests. */

import { type Batch, halves, requestOf, rowsOf, without } from "./batches.ts";
import { now } from "./changes.ts";
import type { Core } from "./core.ts";
import { Closed, CredentialRefused, NotNow } from "./errors.ts";
import { type Advice, type Answer, type Request, advice, faultyRows, isPassing, pause, refusal } from "./exchange.ts";
import type { Lane } from "./lanes.ts";
import type { Fault } from "./results.ts";

/** Attempts that may fail before a connector warns; a moment's 503 or 429 is no news. */
const QUIET_ATTEMPTS = 3;

/** Send what the lane has until the connector stops. */
export async function pump(core: Core, lane: Lane): Promise<void> {
  while (!core.stopping && !core.errorOf(lane)) {
    const batch = core.outbox.first(lane.name);
    if (batch) {
      await deliver(core, lane, batch);
      continue;
    }
    const due = lane.dueIn(now());
    if (due > 0 || !core.seal(lane)) await core.changes.wait(due || Infinity);
  }
}

async function deliver(core: Core, lane: Lane, batch: Batch): Promise<void> {
  const request = requestOf(batch);
  for (let attempt = 0; !core.stopping && !core.errorOf(lane); attempt += 1) {
    const answer = await core.exchange(request);
    const advised = advice(answer);
    if (advised !== "retry") {
      settle(core, lane, batch, answer, advised);
      core.changes.notify();
      return;
    }
    if (core.stopping) return;
    lane.result.retries += 1;
    const seconds = pause(answer, attempt, Math.random());
    if (attempt >= QUIET_ATTEMPTS) {
      core.settings.onWarning(`${lane.name}: ${answer}; attempt ${attempt + 2} follows in ${seconds.toFixed(1)} s`);
    }
    await sleep(core, seconds);
  }
}

function settle(core: Core, lane: Lane, batch: Batch, answer: Answer, advised: Advice): void {
  if (advised === "forget") {
    core.outbox.replace(batch);
    core.acceptedAt = now();
    lane.accepted(batch, answer.requestId ?? "");
  } else if (advised === "stop") {
    core.stop(refusal(answer), lane);
  } else if (advised === "renew") {
    core.outbox.replace(batch, without(batch, new Map()));
  } else if (advised === "split" && batch.count > 1 && batch.kind !== "retain") {
    core.outbox.replace(batch, halves(batch));
  } else {
    cut(core, lane, batch, answer);
  }
}

/** Take the rows out that a refusal names, or all if it names none; the rest keeps the batch's place. */
function cut(core: Core, lane: Lane, batch: Batch, answer: Answer): void {
  const whole: Fault = answer.error.code
    ? answer.error
    : { code: String(answer.status), message: "The request is too large for a proxy." };
  const rows = rowsOf(batch);
  let faults = new Map([...faultyRows(answer)].filter(([index]) => index < batch.count));
  if (batch.kind === "retain" || !faults.size) faults = new Map(rows.map((_, index) => [index, whole]));
  core.outbox.replace(batch, without(batch, faults));
  if (batch.kind === "retain") lane.reject(null, `{"retain":${batch.count}}`, whole);
  else for (const [index, fault] of faults) lane.reject(idOf(rows[index] ?? ""), rows[index] ?? null, fault);
  core.settings.onWarning(`${lane.name}: rows that were rejected: ${faults.size}: ${answer}`);
}

function idOf(row: string): string | null {
  const id: unknown = JSON.parse(row).id;
  return typeof id === "string" ? id : null;
}

/** Wait, whatever changes meanwhile, unless the connector stops. */
async function sleep(core: Core, seconds: number): Promise<void> {
  const until = now() + seconds;
  while (!core.stopping && now() < until) await core.changes.wait(until - now());
}

/** Send a request and retry it for a while; return the service's answer, or throw NotNow or Refused. */
export async function call(core: Core, request: Request): Promise<Answer> {
  const until = now() + core.settings.callSeconds;
  for (let attempt = 0; ; attempt += 1) {
    if (core.error instanceof CredentialRefused) throw core.error;
    if (core.stopping) throw new Closed();
    const answer = await core.exchange(request);
    if (answer.status === 304 || ([200, 202].includes(answer.status) && answer.requestId)) return answer;
    if (!isPassing(answer)) throw core.refused(answer);
    const seconds = pause(answer, attempt, Math.random());
    if (now() + seconds > until) {
      throw new NotNow(`${request.method} ${request.path} failed: ${answer}. Try again later.`);
    }
    await sleep(core, seconds);
  }
}
