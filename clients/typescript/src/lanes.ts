/** A lane: the rows of one stream, or the log entries, in their order. */

import { type Batch, LOG_LANE } from "./batches.ts";
import { type IngestError, RowsRejected } from "./errors.ts";
import type { Settings } from "./options.ts";
import { type Ack, type Fault, KEPT, type Rejected, type Result } from "./results.ts";

/** Size of a rejected row that is kept whole; a thousand of the largest ones would fill the memory. */
const MAX_TOLD = 16_384;

/** The batch that is being filled, and what became of the ones before. */
export class Lane {
  readonly name: string;
  readonly result = {
    items: 0,
    batches: 0,
    retries: 0,
    rejectedItems: 0,
    requestIds: [] as string[],
    rejected: [] as Rejected[],
  } satisfies Result;
  error: IngestError | undefined;
  /** Accepted, and not yet seen to be applied. */
  unconfirmed: string[] = [];
  /** Resolves when the calls that wait for room are done; `waiting` counts them. */
  turn: Promise<void> = Promise.resolve();
  waiting = 0;
  onAccepted: ((ack: Ack) => void) | undefined;
  rows: string[] = [];
  bytes = 0;
  readonly #settings: Settings;
  #openedAt = 0;
  #untold = 0;

  constructor(name: string, settings: Settings) {
    this.name = name;
    this.#settings = settings;
  }

  /** Return whether a row of so many bytes may join the present batch. */
  fits(bytes: number): boolean {
    const { batchItems, batchBytes } = this.#settings;
    return !this.rows.length || (this.rows.length < batchItems && this.bytes + bytes <= batchBytes);
  }

  /** Add a row that fits; return whether the sender has to look again. */
  add(row: string, bytes: number, now: number): boolean {
    if (!this.rows.length) this.#openedAt = now;
    const count = this.rows.push(row);
    this.bytes += bytes + 2;
    return count === 1 || count === this.#settings.batchItems;
  }

  /** Return the seconds until the present batch is to be sent; Infinity if it is empty. */
  dueIn(now: number): number {
    const { batchItems, batchBytes, batchSeconds } = this.#settings;
    if (!this.rows.length) return Infinity;
    if (this.rows.length >= batchItems || this.bytes >= batchBytes) return 0;
    return Math.max(0, this.#openedAt + batchSeconds - now);
  }

  /** Forget the rows: they are in a batch now. */
  clear(): void {
    this.rows = [];
    this.bytes = 0;
  }

  /** Count a batch that was accepted; a retain has no items. */
  accepted(batch: Batch, requestId: string): void {
    const items = batch.kind === "retain" ? 0 : batch.count;
    this.result.items += items;
    this.result.batches += 1;
    keep(this.result.requestIds, requestId);
    keep(this.unconfirmed, requestId);
    this.onAccepted?.({ requestId, items });
  }

  /** Count a row that was refused, and keep it unless such rows are skipped; log entries always are. */
  reject(id: string | null, json: string | null, fault: Fault): void {
    this.result.rejectedItems += 1;
    if (this.#settings.onRejected === "skip" || this.name === LOG_LANE) return;
    this.#untold += 1;
    const { code = "", message = "", path, limit, observed } = fault;
    const more = Object.fromEntries(Object.entries({ path, limit, observed }).filter(([, one]) => one !== undefined));
    keep(this.result.rejected, { id, json: json && json.length > MAX_TOLD ? null : json, code, message, ...more });
  }

  /** Throw RowsRejected for rows that were not told yet, if rejected rows are to throw. */
  throwRejected(): void {
    const untold = this.#untold;
    this.#untold = 0;
    if (untold && this.#settings.onRejected === "throw") {
      throw new RowsRejected(this.result.rejected.slice(-untold), untold);
    }
  }
}

/** Append to a list and keep the last ones only. */
function keep<T>(list: T[], one: T): void {
  list.push(one);
  if (list.length > KEPT) list.shift();
}
