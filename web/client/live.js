// The connection: opens a transport, comes back when it is lost, and goes on to
// the next one when the network does not let this one through.

import { OPENING, PATIENCE, SILENCE, STEADY } from "./limits.js";
import { backOff, timer } from "./timer.js";
import { ask, transports } from "./transports.js";
import { warn } from "./wire.js";

/**
 * Whose connection it is.
 * @typedef {object} Owner
 * @property {() => import("./wire.js").Shown[]} items all that is to be watched, now
 * @property {(frame: any) => void} take a frame that has come
 * @property {(now: import("./wire.js").ToTab) => void} tell the status, and the transport that works here by its place among them
 */

/**
 * @param {import("./transports.js").Env} env
 * @param {import("./transports.js").Address} url
 * @param {Owner} owner
 */
export const live = (env, url, { items, take, tell }) => {
  const retry = timer(env);
  const steady = timer(env);
  const watchdog = timer(env);
  /** @type {import("./transports.js").Link | undefined} */
  let link;
  let open = false;
  let wanted = false;
  let failures = 0;
  let via = 0;
  // How often this transport failed while plain HTTP worked, and how often it may:
  // one that has worked here is hardly blocked.
  let strikes = 0;
  let allowed = 2;

  // As long, or up to twice as long.
  const about = (/** @type {number} */ ms) => ms + ms * env.Math.random();

  const connect = () => {
    retry();
    if (link || !wanted) return;
    tell({ status: "connecting" });
    if (via === 1 && !env.EventSource) via = 2;
    // What comes between close and the end of the connection may be older than
    // what the next one brought.
    const mine = (/** @type {(x?: any) => void} */ f) => /** @type {typeof f} */ ((x) => {
      if (link === own) f(x);
    });
    const own = transports[via](env, url, { items, onopen: mine(opened), onmessage: mine(heard), onclose: mine(closed) });
    link = own;
    watchdog(closed, OPENING);
  };

  const opened = () => {
    if (open) return;
    open = true;
    allowed = 5;
    tell({ status: "live" });
    steady(() => {
      failures = strikes = 0;
    }, STEADY);
    alive();
  };

  // The server's own pings are seen by the browser, and not by its scripts.
  const alive = () => watchdog(probe, about(SILENCE));

  /** @param {{data: string}} event */
  const heard = (event) => {
    opened();
    alive();
    parse(event);
  };

  /** @param {{data: string}} event */
  const parse = ({ data }) => {
    try {
      take(JSON.parse(data));
    } catch (error) {
      warn(error);
    }
  };

  const probe = () => {
    if (!open) return; // still connecting, which has an end of its own
    link?.say({ ping: 1 });
    watchdog(self.lost, PATIENCE);
  };

  // A transport that does not open may be blocked; or the network is down, or the
  // tier is full. A question by plain HTTP tells, and brings what has changed.
  /** @param {{counts?: number, after?: number}} [why] */
  const closed = async ({ counts = 1, after } = {}) => {
    const was = open ? 2 : via;
    self.lost(after);
    if (was > 1) return;
    const all = items();
    const refused = await ask(env, url, all, (event) => {
      if (!open) parse(event);
    });
    if (was !== via || open) return;
    strikes = all[0] && !refused ? strikes + counts : 0;
    if (strikes >= allowed) {
      tell({ via: ++via });
      strikes = failures = 0;
      allowed = 2;
      self.hurry();
    } else if (refused?.after) retry(connect, about(refused.after));
  };

  const self = {
    /**
     * Connects, and stays connected until pause.
     * @param {number} [before] the transport that this visit ended up with, unless something has worked here
     */
    resume(before = 0) {
      wanted = true;
      if (!link && allowed === 2 && via < before) via = before;
      connect();
    },

    /** Disconnects until resume. */
    pause() {
      self.lost();
      wanted = false;
      retry();
    },

    /**
     * There is reason to think that it works now, or works no more: tries at
     * once, but not with everybody else, and asks a connection whether it lives.
     */
    hurry() {
      if (link) probe();
      else retry(connect, backOff(env, 0));
    },

    /** The connection is gone, though it may not know. */
    lost(after = 0) {
      if (!link) return;
      steady();
      watchdog();
      link.close();
      link = undefined;
      open = false;
      tell({ status: "offline" });
      // Those who are told to come back later do not come back together either.
      retry(connect, Math.max(backOff(env, failures++), about(after)));
    },

    /** @param {import("./transports.js").Said} said before there is a connection, nothing need be said */
    say(said) {
      link?.say(said);
    },
  };
  return self;
};
