// The connection: opens a transport, comes back when it is lost, and goes on to
// the next one when the network does not let this one through.

import { FIRST_PAUSE, LONGEST_PAUSE, OPENING, PATIENCE, SILENCE, STEADY } from "./limits.js";
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
export function live(env, url, { items, take, tell }) {
  const { setTimeout, clearTimeout } = env;
  /** @type {import("./transports.js").Link | undefined} */
  let link;
  /** @type {any} */
  let retry;
  /** @type {any} */
  let steady;
  /** @type {any} */
  let watchdog;
  let open = false;
  let wanted = false;
  let failures = 0;
  let via = 0;
  // How often this transport failed while plain HTTP worked, and how often it may:
  // one that has worked here is hardly blocked.
  let strikes = 0;
  let allowed = 2;

  const random = (/** @type {number} */ most) => most * env.Math.random();
  const watch = (/** @type {() => void} */ f, /** @type {number} */ ms) => {
    clearTimeout(watchdog);
    watchdog = setTimeout(f, ms);
  };

  const connect = () => {
    clearTimeout(retry);
    if (link || !wanted) return;
    tell({ status: "connecting" });
    if (via === 1 && !env.EventSource) via = 2;
    // What comes between close and the end of the connection may be older than
    // what the next one brought.
    const mine = (/** @type {(x?: any) => void} */ f) => (/** @type {any} */ x = undefined) => {
      if (mine === current) f(x);
    };
    current = mine;
    link = transports[via](env, url, { items, opened: mine(opened), heard: mine(heard), closed: mine(closed) });
    watch(closed, OPENING);
  };
  /** @type {unknown} */
  let current;

  const opened = () => {
    if (open) return;
    open = true;
    allowed = 5;
    tell({ status: "live" });
    steady = setTimeout(() => {
      failures = strikes = 0;
    }, STEADY);
    alive();
  };

  // The server's own pings are seen by the browser, and not by its scripts.
  const alive = () => watch(probe, SILENCE + random(SILENCE));

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
    watch(self.lost, PATIENCE);
  };

  // A transport that does not open may be blocked; or the network is down, or the
  // tier is full. A question by plain HTTP tells, and brings what has changed.
  /** @param {{held?: boolean, after?: number}} [why] */
  const closed = async ({ held, after } = {}) => {
    const was = open ? 2 : via;
    self.lost(after);
    if (was > 1) return;
    let answered = false;
    const refused = await ask(env, url, items(), (event) => {
      answered = true;
      if (!open) parse(event);
    });
    if (was !== via || open) return;
    strikes = answered && !refused ? strikes + (held ? 2 : 1) : 0;
    if (strikes >= allowed) {
      tell({ via: ++via });
      strikes = failures = 0;
      allowed = 2;
      self.hurry();
    } else if (refused?.after) again(refused.after + random(refused.after));
  };

  /** @param {number} ms */
  const again = (ms) => {
    clearTimeout(retry);
    retry = setTimeout(connect, ms);
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
      clearTimeout(retry);
    },

    /**
     * There is reason to think that it works now, or works no more: tries at
     * once, but not with everybody else, and asks a connection whether it lives.
     */
    hurry() {
      if (link) probe();
      else again(random(FIRST_PAUSE));
    },

    /** The connection is gone, though it may not know. */
    lost(after = 0) {
      if (!link) return;
      clearTimeout(steady);
      clearTimeout(watchdog);
      current = undefined;
      link.close();
      link = undefined;
      open = false;
      tell({ status: "offline" });
      // Anywhere between nothing and the cap ("full jitter"), so that a thousand
      // shoppers who lost one server do not knock on the next one together. Nor
      // are those to who are told to come back later.
      again(Math.max(random(Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures++)), after + random(after)));
    },

    /** @param {import("./transports.js").Said} said before there is a connection, nothing need be said */
    say(said) {
      link?.say(said);
    },
  };
  return self;
}
