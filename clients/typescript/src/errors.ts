/** What can go wrong. Each message says what to do; `IngestError` is the base of all. */

import type { Rejected, Unsent } from "./results.ts";

export class IngestError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/** The address of the service or the credential is missing or can't be one, or an option can't be had here. */
export class ConfigurationError extends IngestError {}

/** A row can't be written as JSON without changing it. Nothing was sent of it. */
export class InvalidRow extends IngestError {
  readonly path: string;

  constructor(message: string, path: string) {
    super(`${path}: ${message}`);
    this.path = path;
  }
}

/** The connector was closed. */
export class Closed extends IngestError {
  constructor() {
    super("The connector is closed: make a new one.");
  }
}

/** The service did not take a request within the time that was given. The same request may pass later. */
export class NotNow extends IngestError {}

/** The outbox has no room: the service takes less than the source yields. */
export class OutboxFull extends NotNow {}

/** The file of the outbox can't be used. */
export class OutboxFailed extends IngestError {}

/** The service refused a request, and will refuse it again unchanged. */
export class Refused extends IngestError {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | undefined;

  constructor(message: string, status: number, code: string, requestId?: string) {
    super(message);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
  }
}

/** The credential is wrong, was rotated or disabled. Everything stops; what was not accepted stays unsent. */
export class CredentialRefused extends Refused {}

/** The service accepted a submission and could not apply it. An operator can see why and retry it. */
export class Dead extends IngestError {
  readonly requestId: string;
  readonly reason: string | null;

  constructor(requestId: string, reason: string | null) {
    super(`Request ${requestId} can't be applied: ${reason}. An operator can retry or drop it.`);
    this.requestId = requestId;
    this.reason = reason;
  }
}

/** The service refused some rows. All others were sent. */
export class RowsRejected extends IngestError {
  readonly rows: readonly Rejected[];
  readonly count: number;

  constructor(rows: readonly Rejected[], count: number) {
    const first = rows[0];
    super(
      `Rejected rows: ${count}; all others were sent. One is ${(first?.json ?? String(first?.id)).slice(0, 200)}: ` +
        `${first?.message} Correct them at the source, or pass onRejected: "collect" and read result.rejected.`,
    );
    this.rows = rows;
    this.count = count;
  }
}

/** The connector ended before everything was sent, and what is left is on no disk. */
export class NotSent extends IngestError {
  readonly unsent: Unsent;

  constructor(unsent: Unsent) {
    super(
      `${unsent.items} rows were not sent in time. Give close() more time, or keep them with an outbox; ` +
        "they are in this error's `unsent.rows`.",
    );
    this.unsent = unsent;
  }
}
