// How many pages show the products on the screen right now.

import { aborted, Problem } from "./admin-api.js";

/** @typedef {import("./admin-api.js").Census} Census */

/**
 * Its surroundings, so that a test can be them.
 * @typedef {object} Env
 * @property {(f: () => void, ms: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {() => boolean} visible whether anybody can see the page
 * @property {() => number[]} ids of the products on the screen
 * @property {(ids: number[], census: Census) => void} counted
 */

/** Between an answer and the next question. */
export const PERIOD = 3000;
/** After other products have come on the screen: more may come. */
const SOON = 150;
/** Of a question. */
export const MOST = 100;

export class OpenPages {
  /** @type {any} */
  #timer;
  #asking = false;
  #wanted = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "get">} api
   * @param {Env} env
   */
  constructor(api, env) {
    this.api = api;
    this.env = env;
  }

  start() {
    this.#wanted = true;
    this.soon();
  }

  stop() {
    this.#wanted = false;
    this.env.cancel(this.#timer);
  }

  /** Other products are on the screen, or somebody looks again. */
  soon() {
    if (this.#wanted && !this.#asking) this.#after(SOON);
  }

  /** @param {number} ms */
  #after(ms) {
    this.env.cancel(this.#timer);
    this.#timer = this.env.later(() => void this.#ask(), ms);
  }

  async #ask() {
    if (!this.env.visible()) return; // soon is called when that changes
    const ids = this.env.ids().slice(0, MOST);
    this.#asking = true;
    try {
      if (ids.length > 0) this.env.counted(ids, await this.api.get(`/pages?ids=${ids.join(",")}`));
    } catch (error) {
      if (!(error instanceof Problem) && !aborted(error)) throw error;
      this.env.counted(ids, { pages: 0, products: {}, complete: false });
    } finally {
      this.#asking = false;
      if (this.#wanted) this.#after(PERIOD);
    }
  }
}
