/** Requests beside the streams: status, configuration, heartbeats. */

import { newKey } from "./batches.ts";
import { now } from "./changes.ts";
import type { Core } from "./core.ts";
import { call } from "./delivery.ts";
import { Dead, IngestError } from "./errors.ts";
import type { Request } from "./exchange.ts";
import type { Lane } from "./lanes.ts";
import type { Status } from "./results.ts";

/** The longest that the service holds the answer to a status request, in seconds. */
const MAX_HELD = 30;
const CONFIGURATION = "/api/connector/config";

/** Return what became of a submission as soon as that is final, or at a moment. */
export async function status(core: Core, requestId: string, until: number): Promise<Status> {
  for (;;) {
    const held = Math.max(0, Math.min(MAX_HELD, Math.round(until - now())));
    const path = `/api/requests/${encodeURIComponent(requestId)}?wait=${held}`;
    const { document } = await call(core, { method: "GET", path, seconds: held + core.settings.requestSeconds });
    const state = document["state"] as Status["state"];
    const reason = (document["reason"] as string | undefined) ?? null;
    const found = { requestId, state, reason, isFinal: state !== "queued", document };
    if (found.isFinal || held === 0 || now() >= until) return found;
  }
}

/** Wait for the end of all accepted batches. The last first: those before it are final then, or nearly. */
export async function confirm(core: Core, lane: Lane, until: number): Promise<void> {
  for (const requestId of [...lane.unconfirmed].reverse()) {
    let found: Status | undefined;
    while (!found?.isFinal) found = await status(core, requestId, now() + core.left(until, lane));
    lane.unconfirmed = lane.unconfirmed.filter((one) => one !== requestId);
    if (found.state === "dead") throw new Dead(requestId, found.reason);
  }
}

/** The connector's configuration, as it was read last. */
export class Configuration {
  #etag = "";
  #document: Readonly<Record<string, unknown>> = {};

  /** Return the configuration, after publishing the default if operators manage none and it is not known yet. */
  async read(core: Core, defaults: Readonly<Record<string, unknown>> | undefined): Promise<Record<string, unknown>> {
    const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
    await this.#exchange(core, { method: "GET", path: CONFIGURATION, headers });
    if (!defaults) return this.#settings();
    const text = core.encoder.document(defaults);
    if (this.#document["defaultConfiguration"] && this.#document["configuration"] !== text) {
      await this.#exchange(core, { method: "PUT", path: CONFIGURATION, body: JSON.stringify({ configuration: text }) });
    }
    return { ...defaults, ...this.#settings() };
  }

  async #exchange(core: Core, request: Request): Promise<void> {
    const answer = await call(core, request);
    if (answer.status === 304) return;
    this.#etag = answer.headers.get("etag") ?? "";
    this.#document = answer.document;
  }

  #settings(): Record<string, unknown> {
    try {
      const found: unknown = JSON.parse(String(this.#document["configuration"]));
      if (typeof found === "object" && found && !Array.isArray(found)) return found as Record<string, unknown>;
    } catch {
      // The same sentence helps.
    }
    throw new IngestError("The configuration is not a JSON object. See that the base URL is the address of the service.");
  }
}

/** Send a heartbeat; return its request id. */
export async function heartbeat(core: Core): Promise<string> {
  const answer = await call(core, beat());
  core.acceptedAt = now();
  return answer.requestId ?? "";
}

/** Send a heartbeat whenever nothing was accepted for a while, until the connector stops. */
export async function heartbeats(core: Core): Promise<void> {
  let triedAt = -Infinity;
  while (!core.stopping && !core.error) {
    const left = Math.max(triedAt, core.acceptedAt) + core.settings.heartbeatSeconds - now();
    if (left > 0) {
      await core.changes.wait(left, true);
      continue;
    }
    triedAt = now();
    const answer = await core.exchange(beat());
    if (answer.status === 401) core.refused(answer);
    if (answer.status === 202) core.acceptedAt = now();
  }
}

function beat(): Request {
  return { method: "POST", path: "/api/ingest/heartbeat", body: "{}", headers: { "Idempotency-Key": newKey() } };
}
