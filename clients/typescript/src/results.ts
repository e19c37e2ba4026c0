/** What became of rows: counts, request ids, rejected rows, what is left. */

/** Request ids and rejected rows that are kept for each stream; the counts go on. */
export const KEPT = 1_000;

/** What a refusal says of one row. */
export interface Fault {
  readonly code?: string;
  readonly message?: string;
  readonly path?: string;
  readonly limit?: number;
  readonly observed?: number;
}

/** A row that the service refused, or that can't be written as JSON, and why. */
export interface Rejected extends Fault {
  readonly id: string | null;
  /** Its exact JSON text; null if it has none or is large. */
  readonly json: string | null;
  readonly code: string;
  readonly message: string;
}

/** What became of the rows of a stream so far. */
export interface Result {
  /** Accepted items, deletions too. */
  readonly items: number;
  /** Accepted batches, retains too. */
  readonly batches: number;
  readonly retries: number;
  readonly rejectedItems: number;
  /** The last 1,000 ones. */
  readonly requestIds: readonly string[];
  /** The last 1,000 ones; none if `onRejected` is "skip". */
  readonly rejected: readonly Rejected[];
}

/** An accepted batch. */
export interface Ack {
  readonly requestId: string;
  readonly items: number;
}

/** What was not accepted before the connector was closed. */
export interface Unsent {
  readonly items: number;
  readonly batches: number;
  /** True if all of it is in the outbox on disk, and will be sent by the next connector that opens it. */
  readonly onDisk: boolean;
  /** The rows that are on no disk: the exact JSON text of each. */
  readonly rows: readonly string[];
}

/** What became of a submission. */
export interface Status {
  readonly requestId: string;
  readonly state: "queued" | "applied" | "dead";
  /** Why it is dead. */
  readonly reason: string | null;
  /** Whether the state will not change by itself. */
  readonly isFinal: boolean;
  /** The whole answer, with times and counts. */
  readonly document: Readonly<Record<string, unknown>>;
}
