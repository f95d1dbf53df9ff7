// Follows what changes in the shop: by a stream of events, and where something
// on the way holds streams back, by calls that wait.

import { Problem } from "./admin-api.js";
import { Events } from "./admin-events.js";

/**
 * @typedef {import("./admin-api.js").Api} Api
 * @typedef {import("./admin-api.js").Rev} Rev
 * @typedef {"connecting" | "live" | "polling" | "offline" | "off"} Status
 */

/**
 * Its surroundings, so that a test can be them.
 * @typedef {object} Env
 * @property {() => number} random as Math.random
 * @property {() => number} now in milliseconds
 * @property {(f: () => void, ms: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {(revs: Rev[]) => void} changed some of them may have been heard before
 * @property {() => void} gap something may have changed that is not going to be said
 * @property {(status: Status) => void} status
 */

/** A stream begins at once. One that does not is held back by something between. */
export const FIRST_PIECE = 10_000;
/** The server says something every 10 s. */
export const SILENCE = 30_000;
/** A stream that lasts less was none: a server that ends them is not to be hurried. */
const STEADY = 5000;
const FIRST_PAUSE = 1000;
export const LONGEST_PAUSE = 30_000;
/** So many streams in a row that ended before they said anything are enough. */
const FRUITLESS = 2;
/** Seconds that a call waits. */
const WAIT = 25;

export class Follow {
  /** @type {string | undefined} where to go on */
  #place;
  /** @type {AbortController | undefined} of what goes on now */
  #running;
  /** @type {() => void} ends a pause */
  #wake = () => {};
  #fruitless = 0;
  #failures = 0;
  #retry = FIRST_PAUSE;

  /**
   * @param {Pick<Api, "get" | "stream">} api
   * @param {Env} env
   */
  constructor(api, env) {
    this.api = api;
    this.env = env;
  }

  /** Marks the place from which start goes on: what is read after this is not older than what is said. */
  async begin() {
    this.#place = (await this.api.get("/changes?wait=0")).next;
  }

  /** Goes on, until stop. */
  start() {
    if (this.#running) return;
    this.#running = new AbortController();
    this.#fruitless = 0;
    void this.#run(this.#running.signal);
  }

  /** Ends; start goes on from the same place. */
  stop() {
    if (!this.#running) return;
    this.#running.abort();
    this.#running = undefined;
    this.env.status("off");
  }

  /** There is reason to think that it works now. */
  hurry() {
    this.#wake();
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    this.env.status("connecting");
    while (!signal.aborted) {
      const began = this.env.now();
      try {
        if (this.#place === undefined) await this.#anew();
        await (this.#fruitless < FRUITLESS ? this.#stream(signal) : this.#poll(signal));
      } catch (error) {
        if (signal.aborted) return;
        if (!this.#survives(error)) return this.stop();
      }
      if (signal.aborted) return;
      if (this.env.now() - began >= STEADY) this.#failures = 0;
      this.env.status("offline");
      await this.#pause(signal);
    }
  }

  async #anew() {
    await this.begin();
    this.env.gap();
  }

  /** @param {unknown} error */
  #survives(error) {
    if (!(error instanceof Problem)) return true; // cut off
    if (this.#fruitless < FRUITLESS) this.#fruitless = 0; // that says nothing of streams
    if (error.status === 400) this.#place = undefined; // a place of another release
    this.#retry = Math.max(this.#retry, Math.min(error.after, LONGEST_PAUSE));
    return error.status !== 401 && error.status !== 403;
  }

  /** @param {AbortSignal} outer */
  async #stream(outer) {
    const own = new AbortController();
    let timer = this.env.later(() => own.abort(), FIRST_PIECE);
    this.#fruitless++; // until it says something
    try {
      const response = await this.api.stream("/changes", { "Last-Event-ID": this.#place ?? "" }, AbortSignal.any([outer, own.signal]));
      if (!response.body || !response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        this.#fruitless = FRUITLESS;
        return;
      }
      const [reader, events] = [response.body.getReader(), new Events()];
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        this.env.cancel(timer);
        timer = this.env.later(() => own.abort(), SILENCE);
        if (this.#fruitless > 0) this.env.status("live");
        this.#fruitless = 0;
        for (const event of events.push(piece.value)) this.#take(JSON.parse(event.data), event.id);
        this.#retry = events.retry || this.#retry;
      }
    } finally {
      this.env.cancel(timer);
      own.abort();
    }
  }

  /** @param {AbortSignal} signal */
  async #poll(signal) {
    for (;;) {
      this.env.status("polling");
      const answer = await this.api.get(`/changes?wait=${WAIT}&since=${encodeURIComponent(this.#place ?? "")}`, signal);
      this.#take(answer, answer.next);
    }
  }

  /**
   * @param {{changes: Rev[]}} said
   * @param {string} place
   */
  #take({ changes }, place) {
    this.#place = place;
    if (changes.length > 0) this.env.changed(changes);
  }

  // Anywhere between nothing and the cap ("full jitter"), so that those who lost
  // one server do not knock on the next one together.
  /** @param {AbortSignal} signal */
  async #pause(signal) {
    const cap = Math.min(LONGEST_PAUSE, this.#retry * 2 ** this.#failures++);
    await new Promise((resume) => {
      const timer = this.env.later(() => resume(undefined), this.env.random() * cap);
      this.#wake = () => {
        this.env.cancel(timer);
        resume(undefined);
      };
      signal.addEventListener("abort", this.#wake, { once: true });
    });
  }
}
