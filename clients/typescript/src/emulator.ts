/** The service's emulator for tests, `ingestctl emulate`, started by Node; docs/emulator.md has the rules of faults. */

import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A fault, and the requests that it hits. */
export interface Rule {
  fault: "fail" | "slow" | "loseAnswer" | "loseRequest" | "dead" | "poison";
  path?: string;
  after?: number;
  times?: number;
  share?: number;
  moreItemsThan?: number;
  ids?: string[];
  status?: number;
  retryAfter?: number;
  seconds?: number;
  reason?: string;
}

/** A running emulator. */
export class Emulator {
  readonly url: string;
  /** The one of the start. */
  readonly credential: string;
  readonly #process: ChildProcess;

  constructor(url: string, credential: string, process: ChildProcess) {
    this.url = url;
    this.credential = credential;
    this.#process = process;
  }

  /** The items that were applied. */
  items(stream?: string): Promise<any[]> {
    return this.#ask("GET", stream === undefined ? "items" : `items?stream=${encodeURIComponent(stream)}`);
  }

  /** The log entries that were applied. */
  logs(): Promise<any[]> {
    return this.#ask("GET", "logs");
  }

  /** What became of each submission. */
  submissions(): Promise<any[]> {
    return this.#ask("GET", "submissions");
  }

  /** All requests, with their answers. */
  requests(): Promise<any[]> {
    return this.#ask("GET", "requests");
  }

  /** Inject these faults from now on, and no others. */
  fail(...rules: Rule[]): Promise<unknown> {
    return this.#ask("PUT", "faults", rules);
  }

  /** Set the managed configuration; null clears it. */
  configure(configuration: string | null): Promise<unknown> {
    return this.#ask("PUT", "configuration", { configuration });
  }

  /** Replace the credential; return the new one. */
  async rotate(): Promise<string> {
    return (await this.#ask("POST", "rotate")).credential;
  }

  /** Forget everything but the credential in force. */
  reset(): Promise<unknown> {
    return this.#ask("POST", "reset");
  }

  /** End the process. */
  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill();
      await ended;
    }
  }

  async #ask(method: string, path: string, document?: unknown): Promise<any> {
    const body = document === undefined ? null : JSON.stringify(document);
    const answer = await fetch(`${this.url}/_emulator/${path}`, { method, body });
    if (!answer.ok) {
      throw new Error(`The emulator refused ${method} ${path}: ${await answer.text()}`);
    }
    return answer.json();
  }
}

/** Start an emulator on a free port. `words` are further ones of the command line; `command` is how to run ingestctl. */
export async function startEmulator(words: string[] = [], command: string[] = ["ingestctl"]): Promise<Emulator> {
  const [program, ...first] = command;
  const started = [...first, "emulate", "--port", "0", "--json", "--end-with-parent", ...words];
  const child = spawn(program ?? "ingestctl", started, { stdio: ["ignore", "pipe", "inherit"] });
  const told = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`The emulator ended with ${code}; its message is above.`)));
    createInterface({ input: child.stdout }).once("line", resolve);
  });
  const { url, credential } = JSON.parse(await told) as { url: string; credential: string };
  child.removeAllListeners("exit");
  return new Emulator(url, credential, child);
}
