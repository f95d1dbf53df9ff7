// Polling, for networks that hold event streams back too.

import { poll } from "./http.js";
import { POLL_INTERVAL } from "./limits.js";
import { createRestartable } from "./restartable.js";

/** @type {import("./transports.js").Transport} */
export const polling = (env, url, { subscriptions, onopen, onmessage, onclose }) => createRestartable(env, (restart) => {
  let stopped = false;
  poll(env, url, subscriptions(), (event) => stopped || onmessage(event)).then((error) => {
    if (stopped) return;
    if (error) return onclose(error);
    onopen();
    restart(POLL_INTERVAL * (0.5 + env.Math.random()));
  });
  return () => {
    stopped = true;
  };
});
