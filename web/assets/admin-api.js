// A client of the admin API.

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
 * @property {string} [removed] what the server removed from the description; only in the response to an edit
 */

/** @typedef {{id: number, version: number}} Rev */
/** @typedef {{name: string, key: string, scopes: string[]}} Caller */
/** @typedef {{field: string, from: unknown, to: unknown}} Change */
/** @typedef {{version: number, made_at: string, action: string, author: string, author_key: string, changes: Change[]}} Entry */
/** @typedef {{pages: number, products: Record<string, number> | null, complete: boolean}} PageCounts */
/** @typedef {{dry_run: boolean, matched: number, changed: number, rounding: string, pages: PageCounts}} Repriced */

/**
 * The surroundings. Tests replace them.
 * @typedef {object} Env
 * @property {(path: string, init: RequestInit) => Promise<Response>} fetch
 * @property {(ms: number) => Promise<void>} sleep
 * @property {() => number} random as Math.random
 * @property {() => number} now in milliseconds
 * @property {() => string} key returns a new idempotency key
 * @property {(problem: Problem) => void} onUnauthorized the token is invalid, expired or revoked
 */

const ROOT = "/api/v1";
/** Longer than the server's own timeout. */
const TIMEOUT = 40_000;
/** Before a change is sent again. */
const RETRY_DELAY = 1000;
const MAX_RETRY_DELAY = 5000;
/** The same change after this is a new one, with a new idempotency key. */
const KEY_LIFETIME = 10 * 60_000;

/** A failed call. Its message is for the person at the page. */
export class Problem extends Error {
  /**
   * @param {number} status 0: there was no response
   * @param {string} message
   * @param {{type?: string, fields?: Record<string, string>, retryAfter?: number}} [more]
   */
  constructor(status, message, { type = "", fields = {}, retryAfter = 0 } = {}) {
    super(message);
    this.status = status;
    this.type = type.replace("urn:shelfcast:problem:", "");
    /** By field of the body, what is wrong with it. */
    this.fields = fields;
    /** Milliseconds to wait before the next attempt; 0: the server did not say. */
    this.retryAfter = retryAfter;
  }

  /** Reports whether the change may have been made, or may succeed when it is sent again. */
  get uncertain() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export class Api {
  token = "";
  /** @type {Map<string, {key: string, at: number}>} changes whose result is unknown */
  #unconfirmed = new Map();

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
   * Makes a change exactly once. Without a response it is sent a second time with the
   * same idempotency key; so is the same change if the person repeats it.
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, version?: number}} [options]
   * @returns {Promise<any>}
   */
  async change(method, path, { body, version } = {}) {
    const text = body && JSON.stringify(body);
    const change = JSON.stringify([method, path, version, text]);
    const headers = { "Idempotency-Key": this.#keyFor(change) };
    if (text) Object.assign(headers, { "Content-Type": method === "PATCH" ? "application/merge-patch+json" : "application/json" });
    if (version !== undefined) Object.assign(headers, { "If-Match": `"${version}"` });
    const send = () => this.#send(path, { method, headers, body: text });
    try {
      const answer = await send().catch(async (problem) => {
        if (problem.status !== 0 && problem.status !== 503) throw problem;
        const delay = Math.min(problem.retryAfter || RETRY_DELAY, MAX_RETRY_DELAY);
        await this.env.sleep(delay * (0.5 + this.env.random() / 2));
        return send();
      });
      this.#unconfirmed.delete(change);
      return answer;
    } catch (problem) {
      if (!(problem instanceof Problem && problem.uncertain)) this.#unconfirmed.delete(change);
      throw problem;
    }
  }

  /**
   * Opens an event stream. The response's body does not end by itself.
   * @param {string} path
   * @param {Record<string, string>} headers
   * @param {AbortSignal} signal
   */
  async stream(path, headers, signal) {
    const response = await this.#fetch(path, { headers: { Accept: "text/event-stream", ...headers }, signal });
    if (!response.ok) throw this.#problem(response, await response.json().catch(() => ({})));
    return response;
  }

  /** @param {string} change */
  #keyFor(change) {
    const now = this.env.now();
    const known = this.#unconfirmed.get(change);
    const key = known && now - known.at < KEY_LIFETIME ? known.key : this.env.key();
    this.#unconfirmed.set(change, { key, at: now });
    return key;
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {AbortSignal} [signal]
   */
  async #send(path, init, signal) {
    const limits = [AbortSignal.timeout(TIMEOUT), ...(signal ? [signal] : [])];
    const response = await this.#fetch(path, { ...init, signal: AbortSignal.any(limits) });
    const answer = await response.json().catch(() => undefined);
    if (!response.ok) throw this.#problem(response, answer ?? {});
    if (answer === undefined) throw noResponse(signal);
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
      throw noResponse(init.signal ?? undefined);
    }
  }

  /**
   * @param {Response} response
   * @param {any} answer
   */
  #problem(response, answer) {
    const problem = problemOf(response.status, answer, Number(response.headers.get("Retry-After")) * 1000 || 0);
    if (response.status === 401) this.env.onUnauthorized(problem);
    return problem;
  }
}

/**
 * Returns the error for a missing response: the signal's reason if the call was aborted.
 * @param {AbortSignal} [signal]
 */
function noResponse(signal) {
  if (signal?.aborted && signal.reason?.name === "AbortError") return signal.reason;
  return new Problem(0, "The server did not answer.");
}

/**
 * @param {number} status
 * @param {any} answer problem details (RFC 9457), or a proxy's response
 * @param {number} retryAfter
 */
export function problemOf(status, answer, retryAfter) {
  /** @type {Record<string, string>} */
  const fields = {};
  const rest = [];
  for (const { location = "", message = "" } of answer.errors ?? []) {
    const name = /^body\.(\w+)$/.exec(location)?.[1];
    if (!name) rest.push(message);
    else fields[name] = [fields[name], message.replace(`${name} `, "")].filter(Boolean).join(", ");
  }
  const detail = answer.detail ?? answer.title ?? `The server reported an error (${status}).`;
  return new Problem(status, sentence([detail, ...rest].join(": ")), { type: answer.type, fields, retryAfter });
}

/** @param {string} text */
function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

/** @param {unknown} error */
export function isAbort(error) {
  return error instanceof Error && error.name === "AbortError" || error instanceof DOMException && error.name === "AbortError";
}

/** Returns a random key. crypto.randomUUID is missing on pages loaded over plain HTTP. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
