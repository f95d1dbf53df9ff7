// The calls of the admin API, made as any other program would make them.

/**
 * @typedef {object} Product
 * @property {number} id
 * @property {number} version
 * @property {string} sku
 * @property {string} title
 * @property {string} description HTML, as text
 * @property {string} vendor
 * @property {string} image_url
 * @property {string} price
 * @property {string | null} compare_at_price
 * @property {string} currency
 * @property {number} stock
 * @property {boolean} published
 * @property {boolean} archived
 * @property {string} created_at
 * @property {string} [removed] from the description, in words; only in the answer to an edit
 */

/** @typedef {{id: number, version: number}} Rev */
/** @typedef {{name: string, key: string, scopes: string[]}} Caller */
/** @typedef {{field: string, from: unknown, to: unknown}} Change */
/** @typedef {{version: number, made_at: string, action: string, author: string, author_key: string, changes: Change[]}} Entry */
/** @typedef {{pages: number, products: Record<string, number> | null, complete: boolean}} Census */
/** @typedef {{dry_run: boolean, matched: number, changed: number, rounding: string, pages: Census}} Repriced */

/**
 * Its surroundings, so that a test can be them.
 * @typedef {object} Env
 * @property {(path: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(ms: number) => Promise<void>} pause
 * @property {() => number} random as Math.random
 * @property {() => number} now in milliseconds
 * @property {() => string} key a new one at each call
 * @property {(problem: Problem) => void} refused the token is not taken, or no more
 */

const ROOT = "/api/v1";
/** The server itself gives up before. */
const PATIENCE = 40_000;
/** Before the one more try. */
const PAUSE = 1000;
const LONGEST_PAUSE = 5000;
/** Whoever asks for the same after this means it once more. */
const SAME_INTENT = 10 * 60_000;

/** A failed call, in words for the person at the page. */
export class Problem extends Error {
  /**
   * @param {number} status 0: there was no answer
   * @param {string} message
   * @param {{type?: string, fields?: Record<string, string>, after?: number}} [more]
   */
  constructor(status, message, { type = "", fields = {}, after = 0 } = {}) {
    super(message);
    this.status = status;
    this.type = type.replace("urn:shelfcast:problem:", "");
    /** What is wrong with which field of the body. */
    this.fields = fields;
    /** Milliseconds after which the server wants to be asked again; 0: it did not say. */
    this.after = after;
  }

  /** The call may have been made or not, or may pass when it is made again. */
  get open() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  token = "";
  /** @type {Map<string, {key: string, at: number}>} calls of which nobody knows whether they were made */
  #unsettled = new Map();

  /** @param {Env} env */
  constructor(env) {
    this.env = env;
  }

  /**
   * @param {string} path after /api/v1
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  get(path, signal) {
    return this.#send(path, {}, signal);
  }

  /**
   * Makes a change once, however often it is sent: without an answer it is sent
   * once more with the same key, and so it is when the person asks again for
   * what nobody has answered.
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, version?: number}} [what]
   * @returns {Promise<any>}
   */
  async change(method, path, { body, version } = {}) {
    const text = body && JSON.stringify(body);
    const asked = JSON.stringify([method, path, version, text]);
    const headers = { "Idempotency-Key": this.#keyOf(asked) };
    if (text) Object.assign(headers, { "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json" });
    if (version !== undefined) Object.assign(headers, { "If-Match": `"${version}"` });
    const send = () => this.#send(path, { method, headers, body: text });
    try {
      const answer = await send().catch(async (problem) => {
        if (problem.status !== 0 && problem.status !== 503) throw problem;
        const most = Math.min(problem.after || PAUSE, LONGEST_PAUSE);
        await this.env.pause(most * (0.5 + this.env.random() / 2));
        return send();
      });
      this.#unsettled.delete(asked);
      return answer;
    } catch (problem) {
      if (!(problem instanceof Problem && problem.open)) this.#unsettled.delete(asked);
      throw problem;
    }
  }

  /**
   * The answer of a stream of events, whose body goes on.
   * @param {string} path
   * @param {Record<string, string>} headers
   * @param {AbortSignal} signal
   */
  async stream(path, headers, signal) {
    const response = await this.#fetch(path, { headers: { Accept: "text/event-stream", ...headers }, signal });
    if (!response.ok) throw this.#problem(response, await response.json().catch(() => ({})));
    return response;
  }

  /** @param {string} asked */
  #keyOf(asked) {
    const now = this.env.now();
    const known = this.#unsettled.get(asked);
    const key = known && now - known.at < SAME_INTENT ? known.key : this.env.key();
    this.#unsettled.set(asked, { key, at: now });
    return key;
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {AbortSignal} [signal]
   */
  async #send(path, init, signal) {
    const limits = [AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])];
    const response = await this.#fetch(path, { ...init, signal: AbortSignal.any(limits) });
    const answer = await response.json().catch(() => undefined);
    if (!response.ok) throw this.#problem(response, answer ?? {});
    if (answer === undefined) throw silence(signal);
    return answer;
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   */
  async #fetch(path, init) {
    const headers = { Authorization: `Bearer ${this.token}`, ...init.headers };
    try {
      return await this.env.fetch(ROOT + path, { ...init, headers, cache: "no-store" });
    } catch {
      throw silence(init.signal ?? undefined);
    }
  }

  /**
   * @param {Response} response
   * @param {any} answer
   */
  #problem(response, answer) {
    const problem = problemOf(response.status, answer, Number(response.headers.get("Retry-After")) * 1000 || 0);
    if (response.status === 401) this.env.refused(problem);
    return problem;
  }
}

/**
 * No answer has come: that is somebody's wish, or a problem.
 * @param {AbortSignal} [signal]
 */
function silence(signal) {
  if (signal?.aborted && signal.reason?.name === "AbortError") return signal.reason;
  return new Problem(0, "The server did not answer.");
}

/**
 * @param {number} status
 * @param {any} answer problem details (RFC 9457), or what some proxy said
 * @param {number} after
 */
export function problemOf(status, answer, after) {
  /** @type {Record<string, string>} */
  const fields = {};
  const rest = [];
  for (const { location = "", message = "" } of answer.errors ?? []) {
    const name = /^body\.(\w+)$/.exec(location)?.[1];
    if (!name) rest.push(message);
    else fields[name] = [fields[name], message.replace(`${name} `, "")].filter(Boolean).join(", ");
  }
  const detail = answer.detail ?? answer.title ?? `The server answered ${status}.`;
  return new Problem(status, sentence([detail, ...rest].join(": ")), { type: answer.type, fields, after });
}

/** @param {string} text */
function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** @param {unknown} error */
export function aborted(error) {
  return error instanceof Error && error.name === "AbortError" || error instanceof DOMException && error.name === "AbortError";
}

/** Without crypto.randomUUID, which pages that came over plain HTTP do not have. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
