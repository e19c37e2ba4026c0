/** A connector and its streams, as their author uses them. */

import { rowsOf } from "./batches.ts";
import { Configuration, confirm, heartbeat, heartbeats, status } from "./calls.ts";
import { now } from "./changes.ts";
import { Core } from "./core.ts";
import { pump } from "./delivery.ts";
import type { Id, Item } from "./encoding.ts";
import { InvalidRow } from "./errors.ts";
import { Http } from "./http.ts";
import type { Lane } from "./lanes.ts";
import { type Options, fromEnvironment, withDefaults } from "./options.ts";
import { byteLength } from "./outbox.ts";
import type { Ack, Result, Status, Unsent } from "./results.ts";

/** Sends the rows of one connector. */
export class Connector implements AsyncDisposable {
  readonly #core: Core;
  readonly #configuration = new Configuration();
  readonly #running: Promise<void>[] = [];
  #closed: Promise<Unsent> | undefined;

  constructor(baseUrl: string, key: string, options: Options = {}) {
    const settings = withDefaults(options);
    this.#core = new Core(settings, new Http(baseUrl, key, settings), (lane) => this.#run(pump(this.#core, lane)));
    for (const name of this.#core.outbox.lanes()) this.#core.lane(name);
    if (settings.heartbeatSeconds) this.#run(heartbeats(this.#core));
  }

  /** Return a connector with INSPIRE_BASE_URL and INSPIRE_INGEST_KEY; throw ConfigurationError. */
  static fromEnv(options: Options = {}): Connector {
    return new Connector(...fromEnvironment(globalThis.process?.env ?? {}), options);
  }

  /** Return the configuration; publish `defaults` if operators manage none, and fill in what they left out. */
  config<T extends Readonly<Record<string, unknown>>>(defaults?: T): Promise<T & Record<string, unknown>> {
    return this.#configuration.read(this.#core, defaults) as Promise<T & Record<string, unknown>>;
  }

  /** Return a stream. */
  stream(name: string): Stream {
    return new Stream(this.#core, this.#core.lane(name));
  }

  /** Put all rows into a stream; yield each batch as soon as it is accepted. */
  async *push(stream: string, rows: Iterable<Item> | AsyncIterable<Item>): AsyncGenerator<Ack, void, undefined> {
    const lane = this.#core.lane(stream);
    const target = new Stream(this.#core, lane);
    const acks: Ack[] = [];
    lane.onAccepted = (ack) => acks.push(ack);
    try {
      for await (const row of rows) {
        await target.put(row);
        yield* acks.splice(0);
      }
      await target.flush({ wait: "accepted" });
      yield* acks.splice(0);
    } finally {
      lane.onAccepted = undefined;
    }
  }

  /** Remove all items of a stream but these, after what was put before; none if it were more than `atMost`. */
  async retain(stream: string, ids: Iterable<Id>, options: { atMost?: number } = {}): Promise<void> {
    const rows = Array.from(ids, (id) => this.#core.encoder.id(id));
    await this.#core.unlessLeaving(() => this.#core.retain(this.#core.lane(stream), rows, options.atMost));
  }

  /** Add a log entry, which is sent within a second. It is dropped if there is no room, and never throws. */
  log(level: string, message: string, context: Readonly<Record<string, unknown>> = {}): void {
    this.#core.log(this.#core.encoder.entry(level, message, new Date().toISOString(), context));
  }

  /** Send a heartbeat now; return its request id. */
  heartbeat(): Promise<string> {
    return heartbeat(this.#core);
  }

  /** Return what became of a submission; as soon as that is final, or after `waitSeconds`. */
  request(requestId: string, options: { waitSeconds?: number } = {}): Promise<Status> {
    return status(this.#core, requestId, now() + (options.waitSeconds ?? 0));
  }

  /** Send what waits, for at most 30 or so many seconds; return what is unsent. */
  close(options: { timeoutSeconds?: number } = {}): Promise<Unsent> {
    this.#closed ??= this.#close(options.timeoutSeconds ?? 30);
    return this.#closed;
  }

  /** Let SIGTERM and Ctrl-C close the connector, which sends what waits, and then end the process (Node). */
  exitOnSignal(options: { timeoutSeconds?: number } = {}): void {
    for (const [signal, code] of [["SIGTERM", 143], ["SIGINT", 130]] as const) {
      process.once(signal, () => {
        this.#core.leaving = true;
        void this.close(options).finally(() => process.exit(code));
      });
    }
  }

  /** Close at the end of an `await using` block; throw what its author has to know. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#core.throwUntold(await this.close());
  }

  async #close(seconds: number): Promise<Unsent> {
    await this.#core.close(seconds);
    await Promise.all(this.#running);
    return this.#core.finish(rowsOf);
  }

  #run(task: Promise<void>): void {
    this.#running.push(task.catch((error: unknown) => this.#core.fail(error)));
  }
}

/** The items of one stream, sent in their order. */
export class Stream {
  readonly #core: Core;
  readonly #lane: Lane;

  constructor(core: Core, lane: Lane) {
    this.#core = core;
    this.#lane = lane;
  }

  /** What became of the rows so far. */
  get result(): Result {
    return this.#lane.result;
  }

  /** Send an item, which replaces the whole former state of its id. Resolves when there was room for it. */
  put(item: Item): Promise<void> {
    return this.#put(item.id, () => this.#core.encoder.item(item));
  }

  /** Tell that an item is gone. */
  delete(id: Id): Promise<void> {
    return this.#put(id, () => this.#core.encoder.deletion(id));
  }

  /** Resolve when all rows are on disk (with an outbox) or accepted (without), or what `wait` says. */
  async flush(options: { wait?: "accepted" | "applied"; timeoutSeconds?: number } = {}): Promise<void> {
    const until = now() + (options.timeoutSeconds ?? Infinity);
    await this.#core.unlessLeaving(() => this.#core.flush(this.#lane, options.wait !== undefined, until));
    if (options.wait === "applied") await confirm(this.#core, this.#lane, until);
    this.#lane.throwRejected();
  }

  #put(id: unknown, encode: () => string): Promise<void> {
    return this.#core.unlessLeaving(() => {
      const row = this.#encoded(id, encode);
      if (row === undefined) return;
      const bytes = byteLength(row);
      return this.#core.add(this.#lane, row, bytes) ? undefined : this.#core.put(this.#lane, row, bytes);
    });
  }

  #encoded(id: unknown, encode: () => string): string | undefined {
    try {
      return encode();
    } catch (error) {
      if (!(error instanceof InvalidRow) || this.#core.settings.onRejected === "throw") throw error;
      const { message, path } = error;
      this.#lane.reject(String(id), null, { code: "not_encodable", message, path });
      return undefined;
    }
  }
}
