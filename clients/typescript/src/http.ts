/** Requests and answers in the terms of `fetch`. */

import { ConfigurationError } from "./errors.ts";
import { Answer, type Request } from "./exchange.ts";
import type { Settings } from "./options.ts";

export const VERSION = "0.1.0";

/** Sends requests to one service with one credential. */
export class Http {
  readonly #baseUrl: string;
  readonly #headers: Record<string, string>;
  readonly #settings: Settings;
  readonly #ending = new AbortController();

  constructor(baseUrl: string, key: string, settings: Settings) {
    if (!/^https?:\/\/[^/]/.test(baseUrl) || !URL.canParse(baseUrl)) {
      throw new ConfigurationError(`The address "${baseUrl}" is not an http:// or https:// URL: see INSPIRE_BASE_URL.`);
    }
    if (!/^[!-~]+$/.test(key)) {
      const message = "The credential is empty or has characters that no credential has: see INSPIRE_INGEST_KEY.";
      throw new ConfigurationError(message);
    }
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    this.#headers = {
      Authorization: `Bearer ${key}`,
      "Content-Type": "application/json",
      "User-Agent": `inspire-ingest-typescript/${VERSION}`,
    };
    this.#settings = settings;
  }

  /** Send a request; return its answer, or that there was none. */
  async exchange(request: Request): Promise<Answer> {
    const timeout = AbortSignal.timeout((request.seconds ?? this.#settings.requestSeconds) * 1000);
    try {
      const response = await this.#settings.fetch(this.#baseUrl + request.path, {
        method: request.method,
        headers: { ...this.#headers, ...request.headers },
        signal: AbortSignal.any([timeout, this.#ending.signal]),
        redirect: "manual", // a followed redirect would turn POST into GET
        ...(request.body === undefined ? {} : { body: request.body }),
      });
      // Browsers hide a redirect's status.
      const status = response.type === "opaqueredirect" ? 302 : response.status;
      return new Answer(status, await response.text(), response.headers);
    } catch (error) {
      return new Answer(0, reason(error));
    }
  }

  /** End the requests that are on their way. */
  end(): void {
    this.#ending.abort(new Error("the connector was closed"));
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
}
