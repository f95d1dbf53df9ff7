import { MAX_BACKOFF, MIN_BACKOFF } from "./limits.js";

/** @typedef {import("./transports.js").Env} Env */

/**
 * Returns a function that schedules f after ms and cancels what it scheduled before.
 * Without arguments it only cancels.
 * @param {Pick<Env, "setTimeout" | "clearTimeout">} env
 * @returns {(f?: () => void, ms?: any) => void}
 */
export const createTimer = ({ setTimeout, clearTimeout }) => {
  /** @type {any} */
  let id;
  return (f, ms) => {
    clearTimeout(id);
    id = f && setTimeout(f, ms);
  };
};

/**
 * Returns the milliseconds to wait after so many failures: a random share of a bound
 * that doubles ("full jitter"), so that the browsers of a failed server do not
 * reconnect together.
 * @param {Env} env
 * @param {number} failures
 */
export const backoff = (env, failures) => env.Math.random() * Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** failures);
