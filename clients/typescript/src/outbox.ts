/** The outbox: batches that wait for their turn, by lane, oldest first, bounded by their bytes. */

import type { Batch } from "./batches.ts";

/** Bytes that a batch takes beside its rows. */
export const OVERHEAD = 256;

export abstract class Outbox {
  /** Number of the newest batch. */
  last = 0;
  readonly #maxBytes: number;
  readonly #bytes = new Map<string, number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Whether batches survive the process. */
  abstract readonly onDisk: boolean;

  /** Return the oldest batch of a lane. */
  abstract first(lane: string): Batch | undefined;

  /** Return how many rows and batches wait. */
  abstract totals(): { items: number; batches: number };

  /** Return the batches that are on no disk. */
  abstract unkept(): Batch[];

  /** Let go of the file. */
  abstract close(): void;

  /** Put pieces into the place of a batch, all or nothing; without one, append them. */
  protected abstract write(batch: Batch | undefined, pieces: readonly Batch[]): void;

  /** Return the lanes that have batches. */
  lanes(): string[] {
    return [...this.#bytes].filter(([, bytes]) => bytes > 0).map(([lane]) => lane);
  }

  /** Return whether a batch fits, within the lane's share; one that is larger than all fits into an empty one. */
  hasRoom(lane: string, size: number, share = 1): boolean {
    const total = [...this.#bytes.values()].reduce((sum, bytes) => sum + bytes, 0);
    const own = this.#bytes.get(lane) ?? 0;
    return (!total || total + size <= this.#maxBytes) && (!own || own + size <= this.#maxBytes * share);
  }

  /** Keep a batch behind all others. */
  append(batch: Batch): void {
    this.write(undefined, [{ ...batch, number: this.last + 1 }]);
    this.last += 1;
    this.count(batch.lane, sizeOf(batch));
  }

  /** Put pieces into the place of a batch; without pieces, forget the batch. */
  replace(batch: Batch, pieces: readonly Batch[] = []): void {
    this.write(batch, pieces);
    this.count(batch.lane, pieces.reduce((sum, piece) => sum + sizeOf(piece), -sizeOf(batch)));
  }

  protected count(lane: string, bytes: number): void {
    this.#bytes.set(lane, (this.#bytes.get(lane) ?? 0) + bytes);
  }
}

/** Batches in memory. */
export class MemoryOutbox extends Outbox {
  override readonly onDisk = false;
  readonly #batches = new Map<string, Batch[]>();

  override first(lane: string): Batch | undefined {
    return this.#batches.get(lane)?.[0];
  }

  override totals(): { items: number; batches: number } {
    const all = this.unkept();
    return { items: all.reduce((sum, batch) => sum + batch.count, 0), batches: all.length };
  }

  override unkept(): Batch[] {
    return [...this.#batches.values()].flat().sort((one, other) => one.number - other.number);
  }

  override close(): void {}

  protected override write(batch: Batch | undefined, pieces: readonly Batch[]): void {
    for (const { lane } of batch ? [batch] : pieces) {
      const list = this.#batches.get(lane) ?? [];
      // What is replaced is the first of its lane.
      list.splice(batch ? 0 : list.length, batch ? 1 : 0, ...pieces);
      this.#batches.set(lane, list);
    }
  }
}

function sizeOf(batch: Batch): number {
  return byteLength(batch.rows) + OVERHEAD;
}

const encoder = new TextEncoder();

/** Return the bytes of a text in UTF-8. Browsers have no Buffer. */
export const byteLength: (text: string) => number =
  globalThis.Buffer?.byteLength ?? ((text) => encoder.encode(text).length);
