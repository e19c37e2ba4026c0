/** A batch: rows that travel in one request under one idempotency key, and how it is made smaller. */

import type { Request } from "./exchange.ts";

export type Kind = "items" | "retain" | "log";

/** The name of the lane of log entries; no stream has parentheses. */
export const LOG_LANE = "(log)";

/** JSON text has no line feed within a string, so that rows can be told apart again. */
const BETWEEN_ROWS = ",\n";
const PATHS = { items: "/api/ingest", retain: "/api/ingest/retain", log: "/api/ingest/log" };

/** Rows of one lane. Its lane sends it before those with a larger (number, part). */
export interface Batch {
  readonly kind: Kind;
  readonly lane: string;
  readonly count: number;
  readonly rows: string;
  readonly key: string;
  readonly atMost: number | null;
  readonly number: number;
  readonly part: string;
}

/** Return a batch with a new idempotency key. */
export function newBatch(kind: Kind, lane: string, rows: readonly string[], atMost: number | null = null): Batch {
  return piece({ kind, lane, count: 0, rows: "", key: "", atMost, number: 0, part: "" }, rows, "");
}

/** Return a new idempotency key. */
export function newKey(): string {
  return crypto.randomUUID();
}

/** Return the request that sends a batch. */
export function requestOf(batch: Batch): Request {
  return { method: "POST", path: PATHS[batch.kind], body: body(batch), headers: { "Idempotency-Key": batch.key } };
}

function body(batch: Batch): string {
  if (batch.kind === "log") return `{"entries":[${batch.rows}]}`;
  const stream = `{"stream":${JSON.stringify(batch.lane)}`;
  if (batch.kind === "items") return `${stream},"items":[${batch.rows}]}`;
  return `${stream},"ids":[${batch.rows}]${batch.atMost === null ? "" : `,"atMost":${batch.atMost}`}}`;
}

/** Return the JSON text of each row. */
export function rowsOf(batch: Batch): string[] {
  return batch.count ? batch.rows.split(BETWEEN_ROWS) : [];
}

/** Return a batch without some rows, in its place and under a key of its own; nothing if none is left. */
export function without(batch: Batch, indexes: ReadonlyMap<number, unknown>): Batch[] {
  const left = rowsOf(batch).filter((_, index) => !indexes.has(index));
  return left.length || !batch.count ? [piece(batch, left, batch.part)] : [];
}

/** Return two batches in the place of one, each under a key of its own. */
export function halves(batch: Batch): Batch[] {
  const rows = rowsOf(batch);
  const middle = rows.length >> 1;
  // As text, "0" < "00" < "01" < "1": halves of halves keep the order.
  return [
    piece(batch, rows.slice(0, middle), `${batch.part}0`),
    piece(batch, rows.slice(middle), `${batch.part}1`),
  ];
}

function piece(batch: Batch, rows: readonly string[], part: string): Batch {
  return { ...batch, count: rows.length, rows: rows.join(BETWEEN_ROWS), key: newKey(), part };
}
