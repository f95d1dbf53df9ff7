// Waiting, for one thing at a time, and by chance: a thousand browsers that lost
// one server are not to knock on the next one together.

import { FIRST_PAUSE, LONGEST_PAUSE } from "./limits.js";

/** @typedef {import("./transports.js").Env} Env */

/**
 * @param {Pick<Env, "setTimeout" | "clearTimeout">} env
 * @returns {(f?: () => void, ms?: any) => void} does f after ms in place of what was to be done; without f, nothing
 */
export const timer = ({ setTimeout, clearTimeout }) => {
  /** @type {any} */
  let id;
  return (f, ms) => {
    clearTimeout(id);
    id = f && setTimeout(f, ms);
  };
};

/**
 * How long to wait after so many failures: anywhere between nothing and a cap that
 * doubles ("full jitter").
 * @param {Env} env
 * @param {number} failures
 */
export const backOff = (env, failures) => env.Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures);
