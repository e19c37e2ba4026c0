/** What an author may set, with the defaults. */

import { type Convert, exactText } from "./encoding.ts";
import { ConfigurationError } from "./errors.ts";

const MB = 1_048_576;

export interface Options {
  /** File that keeps what was not accepted yet (Node 22.13 or newer); without it, rows wait in memory. */
  outbox?: string;
  /** Bytes of rows that may wait: 1 GB on disk or 16 MB in memory by default. */
  outboxBytes?: number;
  /** Seconds that `put` waits for room before it throws OutboxFull; without it, as long as it takes. */
  roomSeconds?: number;
  /** Whether rejected rows throw at the next flush, are only counted, or are collected in `result.rejected`. */
  onRejected?: "throw" | "skip" | "collect";
  /** Turns a value that can't be sent exactly into one that can, or throws. */
  convert?: Convert;
  /** A batch is sent when it has so many items or bytes, or when its first row is so many seconds old. */
  batchItems?: number;
  batchBytes?: number;
  batchSeconds?: number;
  /** A heartbeat is sent if nothing was accepted for so many seconds; 0 sends none. */
  heartbeatSeconds?: number;
  /** Timeout of one request. */
  requestSeconds?: number;
  /** How long `config`, `heartbeat` and `request` are retried before they throw NotNow. */
  callSeconds?: number;
  /** Gets the package's own warnings: retries that last, rejected rows. `console.warn` by default. */
  onWarning?: (message: string) => void;
  /** The `fetch` to use. */
  fetch?: typeof fetch;
}

export type Settings = Required<Omit<Options, "outbox" | "roomSeconds">> & Pick<Options, "outbox" | "roomSeconds">;

/** Return all options, with defaults for those that are not given. */
export function withDefaults(options: Options): Settings {
  return {
    outboxBytes: options.outbox === undefined ? 16 * MB : 1_024 * MB,
    onRejected: "throw",
    convert: exactText,
    batchItems: 1_000,
    batchBytes: 4 * MB,
    batchSeconds: 1,
    heartbeatSeconds: 60,
    requestSeconds: 30,
    callSeconds: 60,
    onWarning: (message) => console.warn(`inspire-ingest: ${message}`),
    fetch: (...request) => fetch(...request),
    ...options,
  };
}

/** Return the address of the service and the credential; throw ConfigurationError. */
export function fromEnvironment(environment: Record<string, string | undefined>): [string, string] {
  return [
    read(environment, "INSPIRE_BASE_URL", "the address of the service, e.g. https://inspire.example.com/datapool"),
    read(environment, "INSPIRE_INGEST_KEY", "the connector's credential, which starts with ik_"),
  ];
}

function read(environment: Record<string, string | undefined>, name: string, meaning: string): string {
  const value = environment[name]?.trim();
  if (!value) throw new ConfigurationError(`${name} is not set: set it to ${meaning}.`);
  return value;
}
