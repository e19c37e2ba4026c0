/** The state of a connector: its lanes, its outbox, and what stopped it. */

import { type Batch, LOG_LANE, newBatch } from "./batches.ts";
import { Changes, now, turn } from "./changes.ts";
import { Encoder } from "./encoding.ts";
import { Closed, CredentialRefused, IngestError, NotNow, NotSent, OutboxFailed, OutboxFull, type Refused } from "./errors.ts";
import { type Answer, type Request, refusal } from "./exchange.ts";
import type { Http } from "./http.ts";
import { Lane } from "./lanes.ts";
import type { Settings } from "./options.ts";
import { MemoryOutbox, type Outbox, byteLength } from "./outbox.ts";
import type { Unsent } from "./results.ts";
import { SqliteOutbox } from "./sqlite.ts";

/** Share of the outbox that log entries may take; beyond it they are dropped, so that they never displace items. */
const LOG_SHARE = 0.1;

export class Core {
  readonly settings: Settings;
  readonly http: Http;
  readonly encoder: Encoder;
  readonly outbox: Outbox;
  readonly changes = new Changes();
  readonly lanes = new Map<string, Lane>();
  error: IngestError | undefined;
  acceptedAt = -Infinity;
  closing = false;
  /** The process ends as soon as the connector is closed. */
  leaving = false;
  stopping = false;
  #isDropping = false;
  readonly #onNewLane: (lane: Lane) => void;

  constructor(settings: Settings, http: Http, onNewLane: (lane: Lane) => void) {
    this.settings = settings;
    this.http = http;
    this.encoder = new Encoder(settings.convert);
    const { outbox, outboxBytes } = settings;
    this.outbox = outbox === undefined ? new MemoryOutbox(outboxBytes) : new SqliteOutbox(outbox, outboxBytes);
    this.#onNewLane = onNewLane;
  }

  /** Return the lane of a stream. */
  lane(name: string): Lane {
    let lane = this.lanes.get(name);
    if (!lane) {
      lane = new Lane(name, this.settings);
      this.lanes.set(name, lane);
      if (!this.closing) this.#onNewLane(lane);
    }
    return lane;
  }

  exchange(request: Request): Promise<Answer> {
    return this.http.exchange(request);
  }

  errorOf(lane: Lane): IngestError | undefined {
    return this.error ?? lane.error;
  }

  /** Throw what stopped a lane, or Closed. */
  check(lane: Lane): void {
    const error = this.errorOf(lane);
    if (error) throw error;
    if (this.closing) throw new Closed();
  }

  /** Stop a lane by an error; a refused credential, and an error of no lane, stop all. */
  stop(error: IngestError, lane?: Lane): void {
    if (!lane || error instanceof CredentialRefused) this.error ??= error;
    else lane.error = error;
    this.changes.notify();
  }

  /** Stop all by an error that was not expected, or by one of the outbox. */
  fail(error: unknown): void {
    const message = `The connector stopped by an error of its own: ${String(error)}.`;
    this.stop(error instanceof IngestError ? error : new IngestError(message, { cause: error }));
  }

  /** Return the error of a refusal; a refused credential stops the connector. */
  refused(answer: Answer): Refused {
    const error = refusal(answer);
    if (error instanceof CredentialRefused) this.stop(error);
    return error;
  }

  /** Act; never come back if the process is ending, so that no error ends it before all is sent. */
  async unlessLeaving(act: () => Promise<void> | undefined): Promise<void> {
    try {
      await act();
    } catch (error) {
      if (!(this.leaving && error instanceof Closed)) throw error;
      await new Promise(() => {});
    }
  }

  /** Add a row if the present batch takes it and none waits; return whether it did. */
  add(lane: Lane, row: string, bytes: number): boolean {
    this.check(lane);
    if (lane.waiting || !lane.fits(bytes)) return false;
    if (lane.add(row, bytes, now())) this.changes.notify();
    return true;
  }

  /** Add a row as soon as there is room, behind those that wait already. */
  put(lane: Lane, row: string, bytes: number): Promise<void> {
    const hasRoom = () => lane.fits(bytes) || this.seal(lane);
    return this.#inTurn(lane, hasRoom, () => lane.add(row, bytes, now()) && this.changes.notify());
  }

  /** Append a retain behind all rows of its stream. */
  async retain(lane: Lane, ids: readonly string[], atMost: number | undefined): Promise<void> {
    const batch = newBatch("retain", lane.name, ids, atMost ?? null);
    const bytes = byteLength(batch.rows);
    const hasRoom = () => this.seal(lane) && this.outbox.hasRoom(lane.name, bytes);
    await this.#inTurn(lane, hasRoom, () => this.#append(batch));
  }

  /** Add a log entry, or drop it if there is no room, without waiting. */
  log(row: string): void {
    const lane = this.lane(LOG_LANE);
    const bytes = byteLength(row);
    if (!this.closing && !this.errorOf(lane) && (lane.fits(bytes) || this.#isSealed(lane))) {
      this.add(lane, row, bytes);
    } else if (!this.#isDropping) {
      this.#isDropping = true;
      this.settings.onWarning("Log entries are dropped: there is no room, or the connector has ended.");
    }
  }

  /** Put the rows of a lane into the outbox, as a batch; return whether there was room. */
  seal(lane: Lane): boolean {
    if (!lane.rows.length) return true;
    const isLog = lane.name === LOG_LANE;
    if (!this.outbox.hasRoom(lane.name, lane.bytes, isLog ? LOG_SHARE : 1)) return false;
    this.#append(newBatch(isLog ? "log" : "items", lane.name, lane.rows));
    lane.clear();
    return true;
  }

  #append(batch: Batch): void {
    this.outbox.append(batch);
    this.changes.notify();
  }

  /** Wait until all calls before are done and there is room, then act. */
  async #inTurn(lane: Lane, hasRoom: () => boolean, act: () => unknown, latest = Infinity): Promise<void> {
    const before = lane.turn;
    let finish = () => {};
    lane.turn = new Promise((resolve) => (finish = resolve));
    lane.waiting += 1;
    try {
      await before;
      await turn(); // a source that never waits would keep answers, timers and signals from being handled
      const until = Math.min(latest, now() + (this.settings.roomSeconds ?? Infinity));
      for (;;) {
        this.check(lane);
        if (hasRoom()) return void act();
        if (now() >= until) {
          throw new OutboxFull(
            `The outbox has no room: ${this.settings.outboxBytes} bytes wait. Slow down, or raise outboxBytes.`,
          );
        }
        await this.changes.wait(until - now());
      }
    } finally {
      lane.waiting -= 1;
      finish();
    }
  }

  /** Bring all rows of a lane to disk, or wait until they are accepted. */
  async flush(lane: Lane, accepted: boolean, until: number): Promise<void> {
    await this.#inTurn(lane, () => this.seal(lane), () => {}, until);
    const last = this.outbox.last;
    while (accepted || !this.outbox.onDisk) {
      const first = this.outbox.first(lane.name);
      if (!first || first.number > last) break;
      this.check(lane);
      await this.changes.wait(this.left(until, lane));
    }
  }

  /** Return the seconds that are left; throw NotNow if there are none. */
  left(until: number, lane: Lane): number {
    const left = until - now();
    if (left > 0) return left;
    const message = `The stream ${lane.name} was not flushed in time; what was put is kept and sent. Flush again later.`;
    throw new NotNow(message);
  }

  /** Send what waits, for at most so many seconds, then stop. */
  async close(seconds: number): Promise<void> {
    const until = now() + seconds;
    this.closing = true;
    this.changes.notify();
    for (const lane of this.lanes.values()) {
      while (!this.#isSealed(lane) && !this.errorOf(lane) && now() < until) await this.changes.wait(until - now());
    }
    while (this.#isSending() && now() < until) await this.changes.wait(until - now());
    this.stopping = true;
    this.http.end();
    this.changes.notify();
  }

  #isSealed(lane: Lane): boolean {
    try {
      return this.seal(lane);
    } catch (error) {
      if (!(error instanceof OutboxFailed)) throw error;
      this.stop(error);
      return false;
    }
  }

  #isSending(): boolean {
    return !this.error && this.outbox.lanes().some((name) => !this.lanes.get(name)?.error);
  }

  /** Let go of the outbox; return what was not sent. `rowsOf` tells the rows of a batch. */
  finish(rowsOf: (batch: Batch) => string[]): Unsent {
    const { items, batches } = this.outbox.totals();
    const open = [...this.lanes.values()].flatMap((lane) => lane.rows);
    const rows = [...this.outbox.unkept().flatMap(rowsOf), ...open];
    this.outbox.close();
    return { items: items + open.length, batches, onDisk: this.outbox.onDisk && !open.length, rows };
  }

  /** Throw what the author of a connector has to know at its end. */
  throwUntold(unsent: Unsent): void {
    for (const error of [this.error, ...[...this.lanes.values()].map((lane) => lane.error)]) if (error) throw error;
    if ((unsent.items || unsent.batches) && !unsent.onDisk) throw new NotSent(unsent);
    for (const lane of this.lanes.values()) lane.throwRejected();
  }
}
