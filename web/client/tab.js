// A tab's end of the connection: who in this tab wants which product, said to the
// worker, and what comes handed to them.

import { keyOf, warn } from "./wire.js";

/** @typedef {import("./wire.js").Fragment} Fragment */
/** @typedef {import("./wire.js").Shown} Shown */
/** @typedef {import("./wire.js").Port} Port */

/**
 * What a tab needs, so that a test can give its own.
 * @typedef {object} Needs
 * @property {(failed: () => void) => Port | undefined} shared the port of a shared worker, if there can be one; failed: there is none after all
 * @property {(port: Port) => void} own takes a port, as a shared worker would, in the page
 * @property {Pick<LockManager, "request">} [locks]
 * @property {(status: import("./wire.js").Status) => void} status
 * @property {boolean} tells the tier is told when something is shown, for its measurements
 * @property {(via?: number) => number} via remembers for the visit which transport works here
 */

/** @typedef {(fragment: Fragment) => boolean | void} Take false: it does not show it */

/**
 * Connects without delay, so that a page that is left has no open connection any more.
 * @param {(port: Port) => void} accept
 */
const pair = (accept) => {
  /** @type {Port} */
  const ours = { postMessage: (data) => theirs.onmessage({ data }) };
  /** @type {Port} */
  const theirs = { postMessage: (data) => ours.onmessage({ data }) };
  accept(theirs);
  return ours;
};

/** @param {Needs} needs */
export const tab = (needs) => {
  /** @type {Map<Shown, Take>} what each watcher shows */
  const watchers = new Map();
  /** @type {Port | undefined} */
  let port;
  /** @type {AbortController | undefined} of this stay with the worker, if there is one */
  let stay;
  let alone = false;
  let saying = false;

  const say = () => {
    saying = false;
    port?.postMessage({ want: [...watchers.keys()] });
  };
  const soon = () => {
    if (!saying) queueMicrotask(say); // what happens in one go is said in one message
    saying = true;
  };

  /** @param {import("./wire.js").Status} status */
  const is = (status) => {
    if (self.status !== status) needs.status((self.status = status));
  };

  const again = () => {
    self.pause();
    self.resume();
  };

  /** @param {Fragment[]} fragments */
  const take = (fragments) => {
    const applied = fragments.filter((fragment) => [...watchers].filter(([shown, take]) => {
      const { version, reset } = fragment;
      if (keyOf(shown) !== keyOf(fragment) || !(version > shown.version || (reset && version < shown.version))) return false;
      shown.version = version;
      return take(fragment) !== false;
    })[0]);
    if (needs.tells && applied[0]) port?.postMessage({ applied: applied.map(({ id, version }) => ({ id, version })) });
  };

  const self = {
    /** @type {import("./wire.js").Status} */
    status: "offline",

    /**
     * Hands over what is newer than version, from now on.
     * @param {{id: number, view: string, version?: number}} product
     * @param {Take} take
     * @returns {() => undefined} no more
     */
    watch({ id, view, version = 0 }, take) {
      const shown = { id, view, version };
      watchers.set(shown, take);
      soon();
      return () => void (watchers.delete(shown) && soon());
    },

    /** Joins the worker, until pause. */
    resume() {
      if (stay) return;
      const { signal } = (stay = new AbortController());
      is("connecting");
      let heard = false;
      const shared = alone ? undefined : needs.shared(() => {
        if (heard || signal.aborted) return;
        alone = true;
        again();
      });
      const there = shared ?? pair(needs.own);
      there.onmessage = (/** @type {{data: import("./wire.js").ToTab}} */ { data: { lock, status, via, fragments, error } }) => {
        heard = true;
        if (signal.aborted) return;
        if (lock) needs.locks?.request(lock, { mode: "shared", signal }, again).catch(() => {}); // the worker has died
        if (via) needs.via(via);
        if (status) is(status);
        if (fragments) take(fragments);
        if (error) warn(error);
      };
      const join = (/** @type {string | void} */ lock) => {
        port = there;
        port.postMessage({ join: { lock, via: needs.via() } });
        soon();
      };
      if (!shared || !needs.locks) return join();
      // The worker sees by it when this tab has gone without a word. A page that
      // has a lock is not kept for the way back.
      const lock = `shelfcast ${Math.random()}`;
      needs.locks.request(lock, () => new Promise((release) => {
        if (signal.aborted) return release(0);
        signal.onabort = release;
        join(lock);
      })).catch(() => join());
    },

    /** Leaves the worker, until resume. */
    pause() {
      if (!stay) return;
      port?.postMessage({ bye: true });
      port = undefined;
      stay.abort();
      stay = undefined;
      is("offline");
    },

    /** There is reason to think that the network works now. */
    hurry() {
      port?.postMessage({ poke: "hurry" });
    },

    /** There is reason to think that it does not. */
    lost() {
      port?.postMessage({ poke: "lost" });
    },
  };
  return self;
};
