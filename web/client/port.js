// A page's port to the hub: sends the page's subscriptions, and hands fragments to
// the callbacks that want them.

import { topicKey, warn } from "./protocol.js";

/** @typedef {import("./protocol.js").Fragment} Fragment */
/** @typedef {import("./protocol.js").Subscription} Subscription */
/** @typedef {import("./protocol.js").Port} Port */

/**
 * The surroundings. Tests replace them.
 * @typedef {object} Host
 * @property {(failed: () => void) => Port | undefined} shared returns the port of a shared worker, if there may be one; calls failed if its script does not load
 * @property {(port: Port) => void} accept a hub in this page
 * @property {Pick<LockManager, "request">} [locks]
 * @property {(status: import("./protocol.js").Status) => void} onStatus
 * @property {boolean} sample this page reports which versions it shows, for the propagation latency
 * @property {(api?: string) => string | undefined} transport remembers the transport for this visit
 */

/** @typedef {(fragment: Fragment) => boolean | void} Callback returns false if it does not show the fragment */

/**
 * Connects to a hub in the same page. Messages are delivered at once, so that a page
 * has no open connection after it has left.
 * @param {(port: Port) => void} accept
 */
const createPair = (accept) => {
  /** @type {Port} */
  const ours = { postMessage: (data) => theirs.onmessage({ data }) };
  /** @type {Port} */
  const theirs = { postMessage: (data) => ours.onmessage({ data }) };
  accept(theirs);
  return ours;
};

/** @param {Host} host */
export const createPort = (host) => {
  /** @type {Map<Subscription, Callback>} */
  const callbacks = new Map();
  /** @type {Port | undefined} */
  let port;
  /** @type {AbortController | undefined} is aborted when the page leaves the hub */
  let session;
  let workerFailed = false;
  let scheduled = false;

  const sendSubscriptions = () => {
    scheduled = false;
    port?.postMessage({ watch: [...callbacks.keys()] });
  };
  const schedule = () => {
    if (!scheduled) queueMicrotask(sendSubscriptions); // changes of one event share a message
    scheduled = true;
  };

  /** @param {"online" | "offline"} method of the hub's connection */
  const call = (method) => port?.postMessage({ call: method });

  /** @param {import("./protocol.js").Status} status */
  const setStatus = (status) => {
    if (self.status !== status) host.onStatus((self.status = status));
  };

  const rejoin = () => {
    self.pause();
    self.resume();
  };

  /** @param {Fragment[]} fragments */
  const deliver = (fragments) => {
    const applied = fragments.filter((fragment) => [...callbacks].filter(([shown, callback]) => {
      const { version, reset } = fragment;
      if (topicKey(shown) !== topicKey(fragment) || !(version > shown.version || (reset && version < shown.version))) return false;
      shown.version = version;
      return callback(fragment) !== false;
    })[0]);
    if (host.sample && applied[0]) port?.postMessage({ applied: applied.map(({ id, version }) => ({ id, version })) });
  };

  const self = {
    /** @type {import("./protocol.js").Status} */
    status: "offline",

    /**
     * Calls back with each fragment that is newer than version.
     * @param {{id: number, view: string, version?: number}} product
     * @param {Callback} callback
     * @returns {() => undefined} unsubscribes
     */
    watch({ id, view, version = 0 }, callback) {
      const shown = { id, view, version };
      callbacks.set(shown, callback);
      schedule();
      return () => void (callbacks.delete(shown) && schedule());
    },

    /** Joins the hub, until pause. */
    resume() {
      if (session) return;
      const { signal } = (session = new AbortController());
      setStatus("connecting");
      let answered = false;
      const shared = !workerFailed && host.shared(() => {
        if (answered || signal.aborted) return;
        workerFailed = true;
        rejoin();
      });
      const hub = shared || createPair(host.accept);
      hub.onmessage = (/** @type {{data: import("./protocol.js").HubMessage}} */ { data: { lock, status, transport, fragments, error } }) => {
        answered = true;
        if (signal.aborted) return;
        if (lock) host.locks?.request(lock, { mode: "shared", signal }, rejoin).catch(() => {}); // granted when the worker has died
        if (transport) host.transport(transport);
        if (status) setStatus(status);
        if (fragments) deliver(fragments);
        if (error) warn(error);
      };
      const join = (/** @type {string | void} */ lock) => {
        port = hub;
        port.postMessage({ join: { lock, transport: host.transport() } });
        schedule();
      };
      if (!shared || !host.locks) return join();
      // By this lock the worker notices a page that died. A page that holds a lock is
      // kept out of the back/forward cache, so pause releases it.
      const lock = `shelfcast ${Math.random()}`;
      host.locks.request(lock, () => new Promise((release) => {
        if (signal.aborted) return release(0);
        signal.onabort = release;
        join(lock);
      })).catch(() => join());
    },

    /** Leaves the hub, until resume. */
    pause() {
      if (!session) return;
      port?.postMessage({ close: true });
      port = undefined;
      session = void session.abort();
      setStatus("offline");
    },

    /** The network may work again: retries soon, or pings. */
    online: () => call("online"),

    /** The network is down: reconnects later. */
    offline: () => call("offline"),
  };
  return self;
};
