// Counts the open pages of the products on the screen.

import { isAbort, Problem } from "./admin-api.js";

/** @typedef {import("./admin-api.js").PageCounts} PageCounts */

/**
 * The surroundings. Tests replace them.
 * @typedef {object} Env
 * @property {(f: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => boolean} visible reports whether the page is visible
 * @property {() => number[]} ids returns the products on the screen
 * @property {(ids: number[], counts: PageCounts) => void} onCounts
 */

/** Between a response and the next request, in milliseconds. */
export const INTERVAL = 3000;
/** After other products have appeared on the screen: more may follow. */
const UPDATE_DELAY = 150;
/** Products in a request. */
export const MAX_IDS = 100;

export class PageCounter {
  /** @type {any} */
  #timer;
  #requesting = false;
  #started = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "get">} api
   * @param {Env} env
   */
  constructor(api, env) {
    this.api = api;
    this.env = env;
  }

  start() {
    this.#started = true;
    this.update();
  }

  stop() {
    this.#started = false;
    this.env.clearTimeout(this.#timer);
  }

  /** Other products are on the screen, or the page is visible again. */
  update() {
    if (this.#started && !this.#requesting) this.#schedule(UPDATE_DELAY);
  }

  /** @param {number} ms */
  #schedule(ms) {
    this.env.clearTimeout(this.#timer);
    this.#timer = this.env.setTimeout(() => void this.#request(), ms);
  }

  async #request() {
    if (!this.env.visible()) return; // update is called when that changes
    const ids = this.env.ids().slice(0, MAX_IDS);
    this.#requesting = true;
    try {
      if (ids.length > 0) this.env.onCounts(ids, await this.api.get(`/pages?ids=${ids.join(",")}`));
    } catch (error) {
      if (!(error instanceof Problem) && !isAbort(error)) throw error;
      this.env.onCounts(ids, { pages: 0, products: {}, complete: false });
    } finally {
      this.#requesting = false;
      if (this.#started) this.#schedule(INTERVAL);
    }
  }
}
