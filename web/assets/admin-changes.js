// Follows the shop's changes by an event stream, or by long polling where a proxy holds
// event streams back.

import { Problem } from "./admin-api.js";
import { EventParser } from "./admin-eventstream.js";

/**
 * @typedef {import("./admin-api.js").Api} Api
 * @typedef {import("./admin-api.js").Rev} Rev
 * @typedef {"connecting" | "live" | "polling" | "offline" | "off"} Status
 */

/**
 * The surroundings. Tests replace them.
 * @typedef {object} Env
 * @property {() => number} random as Math.random
 * @property {() => number} now in milliseconds
 * @property {(f: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {(revs: Rev[]) => void} onChanges may repeat versions
 * @property {() => void} onGap changes may have been missed
 * @property {(status: Status) => void} onStatus
 */

/** A stream begins at once. If it does not, a proxy buffers it. */
export const FIRST_BYTE_TIMEOUT = 10_000;
/** The server sends something every 10 s. */
export const IDLE_TIMEOUT = 30_000;
/** A stream that ends sooner counts as failed, so that a server that ends streams is not hammered. */
const STABLE_AFTER = 5000;
const MIN_BACKOFF = 1000;
export const MAX_BACKOFF = 30_000;
/** After this many empty streams in a row, poll. */
const MAX_EMPTY_STREAMS = 2;
/** Seconds that a long poll waits for changes. */
const POLL_WAIT = 25;

export class ChangeFeed {
  /** @type {string | undefined} the position to continue from */
  #cursor;
  /** @type {AbortController | undefined} of the current run */
  #running;
  /** @type {() => void} ends the current pause */
  #wake = () => {};
  #emptyStreams = 0;
  #failures = 0;
  #retry = MIN_BACKOFF;

  /**
   * @param {Pick<Api, "get" | "stream">} api
   * @param {Env} env
   */
  constructor(api, env) {
    this.api = api;
    this.env = env;
  }

  /** Sets the position to now. Load products after this, so that no change is missed. */
  async seekToNow() {
    this.#cursor = (await this.api.get("/changes?wait=0")).next;
  }

  /** Follows changes until stop. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#emptyStreams = 0;
    void this.#run(this.#running.signal);
  }

  /** Stops. start continues from the same position. */
  stop() {
    if (!this.#running) return;
    this.#running.abort();
    this.#running = undefined;
    this.env.onStatus("off");
  }

  /** The network may work again: retries at once. */
  retryNow() {
    this.#wake();
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    this.env.onStatus("connecting");
    while (!signal.aborted) {
      const began = this.env.now();
      try {
        if (this.#cursor === undefined) await this.#restart();
        await (this.#emptyStreams < MAX_EMPTY_STREAMS ? this.#stream(signal) : this.#poll(signal));
      } catch (error) {
        if (signal.aborted) return;
        if (!this.#continueAfter(error)) return this.stop();
      }
      if (signal.aborted) return;
      if (this.env.now() - began >= STABLE_AFTER) this.#failures = 0;
      this.env.onStatus("offline");
      await this.#pause(signal);
    }
  }

  async #restart() {
    await this.seekToNow();
    this.env.onGap();
  }

  /**
   * Reports whether to continue after an error.
   * @param {unknown} error
   */
  #continueAfter(error) {
    if (!(error instanceof Problem)) return true; // the stream broke
    if (this.#emptyStreams < MAX_EMPTY_STREAMS) this.#emptyStreams = 0; // the error is no sign that streams are held back
    if (error.status === 400) this.#cursor = undefined; // the server does not know the position
    this.#retry = Math.max(this.#retry, Math.min(error.retryAfter, MAX_BACKOFF));
    return error.status !== 401 && error.status !== 403;
  }

  /** @param {AbortSignal} outer */
  async #stream(outer) {
    const own = new AbortController();
    let timer = this.env.setTimeout(() => own.abort(), FIRST_BYTE_TIMEOUT);
    this.#emptyStreams++; // until something arrives
    try {
      const response = await this.api.stream("/changes", { "Last-Event-ID": this.#cursor ?? "" }, AbortSignal.any([outer, own.signal]));
      if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        this.#emptyStreams = MAX_EMPTY_STREAMS;
        return;
      }
      const [reader, events] = [response.body.getReader(), new EventParser()];
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        this.env.clearTimeout(timer);
        timer = this.env.setTimeout(() => own.abort(), IDLE_TIMEOUT);
        if (this.#emptyStreams > 0) this.env.onStatus("live");
        this.#emptyStreams = 0;
        for (const event of events.push(piece.value)) this.#receive(JSON.parse(event.data), event.id);
        this.#retry = events.retry || this.#retry;
      }
    } finally {
      this.env.clearTimeout(timer);
      own.abort();
    }
  }

  /** @param {AbortSignal} signal */
  async #poll(signal) {
    for (;;) {
      this.env.onStatus("polling");
      const answer = await this.api.get(`/changes?wait=${POLL_WAIT}&since=${encodeURIComponent(this.#cursor ?? "")}`, signal);
      this.#receive(answer, answer.next);
    }
  }

  /**
   * @param {{changes: Rev[]}} message
   * @param {string} cursor
   */
  #receive({ changes }, cursor) {
    this.#cursor = cursor;
    if (changes.length > 0) this.env.onChanges(changes);
  }

  // Waits for a random share of the back-off ("full jitter"), so that the pages of a
  // failed server do not reconnect together.
  /** @param {AbortSignal} signal */
  async #pause(signal) {
    const cap = Math.min(MAX_BACKOFF, this.#retry * 2 ** this.#failures++);
    await new Promise((resume) => {
      const timer = this.env.setTimeout(() => resume(undefined), this.env.random() * cap);
      this.#wake = () => {
        this.env.clearTimeout(timer);
        resume(undefined);
      };
      signal.addEventListener("abort", this.#wake, { once: true });
    });
  }
}
