import { RESTART_DELAY } from "./limits.js";
import { createTimer } from "./timer.js";

/**
 * Returns a channel for a transport that cannot send. It restarts the transport for
 * new subscriptions, and in place of a ping.
 * @param {import("./transports.js").Env} env
 * @param {(restart: (ms: number) => void) => (() => void)} start returns a function that stops
 * @returns {import("./transports.js").Channel}
 */
export const createRestartable = (env, start) => {
  const timer = createTimer(env);
  let pending = true;
  let stop = () => {};
  const restart = (/** @type {number} */ ms) => timer(() => {
    pending = false;
    stop();
    stop = start(restart);
  }, ms);
  restart(0);
  return {
    send({ watch, ping }) {
      if (!pending && (watch || ping)) {
        pending = true;
        restart(RESTART_DELAY);
      }
    },
    close() {
      timer();
      stop();
    },
  };
};
