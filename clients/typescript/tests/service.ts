/** A small service in memory, as a `fetch`, that keeps the contract's promises and fails as it is told. */

const MAX_FAULTS = 2;

interface Seen {
  method: string;
  path: string;
  key: string | null;
  body: string;
  document: any;
}

type Reply = Response | "lost" | "hang" | undefined;

export class Service {
  /** Given first, one a submission; "lost": accepted, and the connection fails. */
  replies: Reply[] = [];
  seen: Seen[] = [];
  rows: any[] = [];
  entries: any[] = [];
  retained: any[] = [];
  states = new Map<string, string>();
  managed: string | undefined;
  published = "{}";
  namesFaults = true;
  maxItems = Infinity;
  inFlight = 0;
  mostInFlight = 0;
  readonly #accepted = new Map<string, string>();

  fetch = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await new Promise((resolve) => setTimeout(resolve, 1));
      const body = String(init.body ?? "");
      const headers = new Headers(init.headers);
      const seen = {
        method: init.method ?? "GET",
        path: new URL(String(url)).pathname,
        key: headers.get("idempotency-key") ?? headers.get("if-none-match"),
        body,
        document: body ? JSON.parse(body) : undefined,
      };
      this.seen.push(seen);
      return await this.#answer(seen, init.signal ?? null);
    } finally {
      this.inFlight -= 1;
    }
  };

  get ids(): string[] {
    return this.rows.map((row) => row.id);
  }

  submissions(path = "/api/ingest"): Seen[] {
    return this.seen.filter((seen) => seen.path === path);
  }

  async #answer(seen: Seen, signal: AbortSignal | null): Promise<Response> {
    if (seen.path.startsWith("/api/requests/")) {
      const requestId = seen.path.split("/")[3] ?? "";
      const state = this.states.get(requestId) ?? "applied";
      return Response.json({ requestId, state, ...(state === "dead" ? { reason: "22P05" } : {}) });
    }
    if (seen.path === "/api/connector/config") return this.#configuration(seen);
    const reply = this.replies.shift();
    if (reply === "hang") await new Promise((_, fail) => signal?.addEventListener("abort", () => fail(signal.reason)));
    if (reply instanceof Response) return reply;
    const answer = this.#submitted(seen);
    if (reply === "lost") throw new TypeError("fetch failed");
    return answer;
  }

  #configuration(seen: Seen): Response {
    if (seen.method === "PUT") this.published = seen.document.configuration;
    const configuration = this.managed ?? this.published;
    const ETag = `"${configuration.length}-${configuration.slice(1, 9).replace(/\W/g, "")}"`;
    if (seen.method === "GET" && seen.key === ETag) return new Response(null, { status: 304, headers: { ETag } });
    const document = { requestId: "req_1", configuration, defaultConfiguration: this.managed === undefined };
    return Response.json(document, { headers: { ETag } });
  }

  #submitted(seen: Seen): Response {
    const known = this.#accepted.get(seen.key ?? "");
    if (known) return accepted(known);
    const items: any[] = seen.document.items ?? seen.document.entries ?? [];
    if (items.length > this.maxItems) return refused(413, "body_too_large");
    const bad = items.flatMap((item, index) => ("bad" in (item.fields ?? {}) ? [index] : []));
    if (bad.length) return this.#faulty(bad);
    this.rows.push(...(seen.document.items ?? []));
    this.entries.push(...(seen.document.entries ?? []));
    if (seen.document.ids) this.retained.push(seen.document);
    const requestId = `req_${String(this.#accepted.size).padStart(14, "0")}`;
    this.#accepted.set(seen.key ?? requestId, requestId);
    return accepted(requestId);
  }

  #faulty(bad: number[]): Response {
    const faults = bad.map((index) => ({ code: "nul_character", message: "Remove it.", path: `$.items[${index}].fields.bad` }));
    const more = { faults: faults.slice(0, MAX_FAULTS), moreFaults: bad.length > MAX_FAULTS };
    return refused(409, "nul_character", { ...faults[0], ...(this.namesFaults ? more : { path: "$" }) });
  }
}

function accepted(requestId: string): Response {
  return Response.json({ status: "accepted", requestId }, { status: 202 });
}

export function refused(status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Response {
  const error = { code, message: "As the test wants.", ...more };
  return Response.json({ status: "error", requestId: "req_zz", error }, { status, headers });
}
