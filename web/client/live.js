// The connection: opens a transport, comes back when it is lost, and goes on to
// the next one when the network does not let this one through.

import { ask, transports } from "./transports.js";
import { warn } from "./wire.js";

/**
 * Whose connection it is.
 * @typedef {object} Owner
 * @property {() => import("./wire.js").Shown[]} items all that is to be watched, now
 * @property {(frame: any) => void} take a frame that has come
 * @property {(status: import("./wire.js").Status) => void} status
 * @property {(via: number) => void} via the transport that works here, by its place among them
 */

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A connection that has been silent for as long, or up to twice as long, is asked whether it lives. */
const SILENCE = 30_000;
/** A connection that has not answered by then does not: a laptop has slept, or a network has gone, and nothing says so. */
const PATIENCE = 5_000;
/** A connection that lasts less was none: a server that accepts and closes is not to be hurried. */
const STEADY = 5_000;
/** What has not opened by then does not. */
const OPENING = 10_000;

/**
 * @param {Owner} owner
 * @param {(path: string, list?: string) => string} url
 * @param {import("./transports.js").Env} env
 */
export function live(owner, url, env) {
  const { random, later, cancel } = env;
  /** @type {import("./transports.js").Link | undefined} */
  let link;
  /** @type {any} */
  let retry;
  /** @type {any} */
  let steady;
  /** @type {any} */
  let watchdog;
  let open = false;
  let failures = 0;
  let wanted = false;
  let via = 0;
  // How often this transport failed while plain HTTP worked, and how often it may:
  // one that has worked here is hardly blocked.
  let strikes = 0;
  let allowed = 2;

  const connect = () => {
    cancel(retry);
    if (link || !wanted) return;
    owner.status("connecting");
    if (via === 1 && !env.source) via = 2;
    // What comes between close and the end of the connection may be older than
    // what the next one brought.
    const mine = (/** @type {(x?: any) => void} */ f) => (/** @type {any} */ x = undefined) => {
      if (now === link) f(x);
    };
    const now = transports[via](env, url, {
      items: owner.items,
      opened: mine(opened),
      heard: mine((text) => {
        opened();
        alive();
        take(text);
      }),
      closed: mine(closed),
    });
    link = now;
    watchdog = later(closed, OPENING);
  };

  const opened = () => {
    if (open) return;
    open = true;
    allowed = 5;
    owner.status("live");
    steady = later(() => {
      failures = strikes = 0;
    }, STEADY);
    alive();
  };

  /** @param {string} text */
  const take = (text) => {
    try {
      owner.take(JSON.parse(text));
    } catch (error) {
      warn(error);
    }
  };

  // The server's own pings are seen by the browser, and not by its scripts.
  const alive = () => {
    cancel(watchdog);
    watchdog = later(probe, SILENCE * (1 + random()));
  };

  const probe = () => {
    if (!open) return; // still connecting, which has an end of its own
    cancel(watchdog);
    link?.say({ ping: 1 });
    watchdog = later(self.lost, PATIENCE);
  };

  /** @param {{held?: boolean, after?: number}} [why] */
  const closed = ({ held, after = 0 } = {}) => {
    const opened = open;
    self.lost(after);
    if (!opened && transports[via + 1]) blocked(via, held ? 2 : 1);
  };

  // A transport that does not open may be blocked; or the network is down, or the
  // tier is full. A question by plain HTTP tells, and brings what has changed.
  /**
   * @param {number} was
   * @param {number} strike
   */
  const blocked = async (was, strike) => {
    let answered = false;
    const refused = await ask(env, url, owner.items(), (text) => {
      answered = true;
      if (!open) take(text);
    });
    if (was !== via || open || !wanted) return;
    strikes = answered && !refused ? strikes + strike : 0;
    if (strikes >= allowed) {
      owner.via(++via);
      strikes = failures = 0;
      allowed = 2;
      self.hurry();
    } else if (refused?.after && !link) again(spread(refused.after));
  };

  // Those who are told to come back later are not to come back together.
  const spread = (/** @type {number} */ after) => after * (1 + random());

  /** @param {number} ms */
  const again = (ms) => {
    cancel(retry);
    if (wanted) retry = later(connect, ms);
  };

  const self = {
    /** Connects, and stays connected until pause. */
    resume() {
      wanted = true;
      connect();
    },

    /** Disconnects until resume. */
    pause() {
      wanted = false;
      cancel(retry);
      self.lost();
    },

    /**
     * There is reason to think that it works now, or works no more: tries at
     * once, but not with everybody else, and asks a connection whether it lives.
     */
    hurry() {
      if (link) probe();
      else again(random() * FIRST_PAUSE);
    },

    /** The connection is gone, though it may not know. */
    lost(after = 0) {
      if (!link) return;
      const had = link;
      cancel(steady);
      cancel(watchdog);
      link = undefined;
      open = false;
      had.close();
      owner.status("offline");
      // Anywhere between nothing and the cap ("full jitter"), so that a thousand
      // shoppers who lost one server do not knock on the next one together.
      again(Math.max(random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures++), spread(after)));
    },

    /**
     * Where other pages of this visit ended up, unless something has worked here.
     * @param {number} before
     */
    start(before) {
      if (!link && allowed === 2) via = Math.max(via, before);
    },

    /** @param {import("./transports.js").Said} said before there is a connection, nothing need be said */
    say(said) {
      link?.say(said);
    },
  };
  return self;
}
