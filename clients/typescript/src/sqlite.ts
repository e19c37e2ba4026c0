/** The outbox on disk: a file of SQLite, by the module of Node. */

import type { DatabaseSync, SQLInputValue } from "node:sqlite";

import type { Batch } from "./batches.ts";
import { ConfigurationError, OutboxFailed } from "./errors.ts";
import { OVERHEAD, Outbox } from "./outbox.ts";

const COLUMNS = ["kind", "lane", "count", "rows", "key", "atMost", "number", "part"] as const;
const TABLE = `
  CREATE TABLE IF NOT EXISTS batches (
    kind TEXT NOT NULL, lane TEXT NOT NULL, count INTEGER NOT NULL, rows TEXT NOT NULL, key TEXT NOT NULL,
    atMost INTEGER, number INTEGER NOT NULL, part TEXT NOT NULL, PRIMARY KEY (lane, number, part)
  )`;
const INSERT = `INSERT INTO batches (${COLUMNS.join(", ")}) VALUES (${COLUMNS.map(() => "?").join(", ")})`;
const DELETE = "DELETE FROM batches WHERE lane = ? AND number = ? AND part = ?";
/** Milliseconds to wait for another process to let go of the file: a supervisor may start us before the old one ended. */
const LOCK_TIMEOUT = 2_000;

/** Batches that survive the process and a loss of power. One process at a time opens a file. */
export class SqliteOutbox extends Outbox {
  override readonly onDisk = true;
  readonly #path: string;
  readonly #database: DatabaseSync;

  constructor(path: string, maxBytes: number) {
    super(maxBytes);
    this.#path = path;
    this.#database = this.#translated(() => opened(path));
    for (const { lane, bytes } of this.#all<{ lane: string; bytes: number }>(
      "SELECT lane, sum(length(CAST(rows AS BLOB)) + ?) AS bytes FROM batches GROUP BY lane",
      OVERHEAD,
    )) {
      this.count(lane, bytes);
    }
    this.last = this.#all<{ last: number }>("SELECT ifnull(max(number), 0) AS last FROM batches")[0]?.last ?? 0;
  }

  override first(lane: string): Batch | undefined {
    return this.#all<Batch>("SELECT * FROM batches WHERE lane = ? ORDER BY number, part LIMIT 1", lane)[0];
  }

  override totals(): { items: number; batches: number } {
    const select = "SELECT ifnull(sum(count), 0) AS items, count(*) AS batches FROM batches";
    return this.#all<{ items: number; batches: number }>(select)[0] ?? { items: 0, batches: 0 };
  }

  override unkept(): Batch[] {
    return [];
  }

  override close(): void {
    this.#translated(() => this.#database.close());
  }

  protected override write(batch: Batch | undefined, pieces: readonly Batch[]): void {
    this.#translated(() => {
      this.#database.exec("BEGIN IMMEDIATE");
      try {
        if (batch) this.#run(DELETE, batch.lane, batch.number, batch.part);
        for (const piece of pieces) this.#run(INSERT, ...COLUMNS.map((name) => piece[name]));
        this.#database.exec("COMMIT");
      } catch (error) {
        if (this.#database.isTransaction !== false) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  #run(statement: string, ...values: SQLInputValue[]): void {
    this.#database.prepare(statement).run(...values);
  }

  #all<T>(statement: string, ...values: SQLInputValue[]): T[] {
    return this.#translated(() => this.#database.prepare(statement).all(...values)) as T[];
  }

  #translated<T>(act: () => T): T {
    try {
      return act();
    } catch (error) {
      if (error instanceof ConfigurationError) throw error;
      const said = error instanceof Error ? error.message : String(error);
      const remedy = said.includes("locked")
        ? "another process has it open: give each connector a file of its own."
        : `${said}. See that the folder exists, can be written and has room.`;
      throw new OutboxFailed(`The outbox ${this.#path} can't be used: ${remedy}`, { cause: error });
    }
  }
}

function opened(path: string): DatabaseSync {
  const node = globalThis.process?.getBuiltinModule;
  const sqlite = node?.("node:sqlite");
  if (!sqlite) {
    const message = "An outbox on disk needs Node 22.13 or newer. Leave the option out: rows then wait in memory.";
    throw new ConfigurationError(message);
  }
  // Rows may be confidential: only the connector's user reads the file.
  const fs = node("node:fs");
  fs.closeSync(fs.openSync(path, "a", 0o600));
  const database = new sqlite.DatabaseSync(path);
  try {
    // A second process would break the order.
    database.exec(`PRAGMA busy_timeout = ${LOCK_TIMEOUT}; PRAGMA locking_mode = EXCLUSIVE`);
    database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    database.exec(`BEGIN EXCLUSIVE; ${TABLE}; COMMIT`);
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}
