/** One exchange with the service: the request, the answer, and what the answer asks the connector to do. */

import { CredentialRefused, Refused } from "./errors.ts";
import type { Fault } from "./results.ts";

/** Longest pause between two attempts, in seconds, if the service names none. */
const MAX_BACKOFF = 30;
/** Longest pause that an answer may ask for, in seconds; a proxy's "tomorrow" would look like a hung connector. */
const MAX_RETRY_AFTER = 300;

export interface Request {
  readonly method: "GET" | "POST" | "PUT";
  readonly path: string;
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly seconds?: number;
}

interface Refusal extends Fault {
  readonly faults?: readonly Fault[];
}

/** An HTTP answer. Status 0: there was none, and the body says why. */
export class Answer {
  readonly status: number;
  readonly document: Readonly<Record<string, unknown>>;
  readonly headers: Headers;
  readonly #body: string;

  constructor(status: number, body = "", headers: Headers = new Headers()) {
    this.status = status;
    this.headers = headers;
    this.#body = body;
    this.document = parsed(body);
  }

  /** What a refusal says; an empty object if the answer is not the service's. */
  get error(): Refusal {
    const error = this.document["error"];
    return isObject(error) ? error : {};
  }

  get requestId(): string | undefined {
    const id = this.document["requestId"];
    return typeof id === "string" ? id : undefined;
  }

  /** The answer in a few words, for a warning. */
  toString(): string {
    if (this.status === 0) return `no answer (${this.#body})`;
    return [this.status, this.error.code, this.error.message].filter(Boolean).join(" ");
  }
}

function parsed(body: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(body);
    return isObject(found) ? found : {};
  } catch {
    return {};
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * What an answer asks the connector to do with a batch:
 * forget it, as it is accepted; retry the same request; cut out the rows that the refusal names; renew its key, which
 * was used for another body; split it, as it is too large or has a faulty row that is not named; stop its lane.
 */
export type Advice = "forget" | "retry" | "cut" | "renew" | "split" | "stop";

/** Decide what to do with a batch after an answer. */
export function advice(answer: Answer): Advice {
  if (answer.status === 202 && answer.requestId) return "forget";
  if (isPassing(answer)) return "retry";
  const isAboutRows = answer.status === 413 || ([400, 409].includes(answer.status) && answer.error.code);
  if (!isAboutRows || answer.error.path?.startsWith("$.stream")) return "stop";
  if (answer.error.code === "idempotency_key_reused") return "renew";
  return faultyRows(answer).size > 0 ? "cut" : "split";
}

/** Return whether the same request may pass later. */
export function isPassing(answer: Answer): boolean {
  if ([0, 408, 429].includes(answer.status) || answer.error.code === "incomplete_body") return true;
  return answer.status >= 500 && ![501, 505].includes(answer.status);
}

/** Return each row that a refusal names, by its index, with its fault. */
export function faultyRows(answer: Answer): Map<number, Fault> {
  const found = new Map<number, Fault>();
  for (const fault of [...(answer.error.faults ?? []), answer.error]) {
    const index = /^\$\.(?:items|entries)\[(\d+)\]/.exec(fault.path ?? "")?.[1];
    if (index !== undefined && !found.has(Number(index))) found.set(Number(index), fault);
  }
  return found;
}

/** Return the seconds before the next attempt; `chance`, from 0 to 1, keeps connectors from coming all at once. */
export function pause(answer: Answer, attempt: number, chance: number): number {
  const asked = retryAfter(answer.headers.get("retry-after") ?? "");
  if (asked !== undefined) return Math.min(asked, MAX_RETRY_AFTER) * (1 + chance / 4);
  return Math.min(MAX_BACKOFF, 0.25 * 2 ** attempt) * (0.5 + chance / 2);
}

function retryAfter(value: string): number | undefined {
  if (/^\s*\d+\s*$/.test(value)) return Number(value);
  const moment = Date.parse(value);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}

/** Return the error that tells a refusal, and what to do about it. */
export function refusal(answer: Answer): Refused {
  const { code = "", message = "" } = answer.error;
  if (answer.status === 401) {
    const remedy =
      "The service refuses the credential: it is wrong, was rotated or disabled. " +
      "Set INSPIRE_INGEST_KEY to the connector's present one and start again.";
    return new CredentialRefused(remedy, answer.status, code, answer.requestId);
  }
  const said = code ? `${code}: ${message}` : "The answer is not one of Inspire Data Ingest.";
  const isAboutBody = [400, 409, 413].includes(answer.status);
  const remedy = isAboutBody ? "" : " See that the base URL is the address of the service.";
  return new Refused(`Refused with status ${answer.status}. ${said}${remedy}`, answer.status, code, answer.requestId);
}
