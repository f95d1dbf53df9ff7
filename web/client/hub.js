// The hub of all pages in a browser that show products of one server. They share one
// connection. The hub keeps their subscriptions, and the last fragment of each topic.
//
// For each topic the server is told the newest version that any page shows, so that
// it can tell when that one is lost. A page that shows an older version gets the
// fragment from the hub, or by HTTP.

import { IDLE_TIMEOUT, MAX_PRODUCTS } from "./limits.js";
import { createTimer } from "./timer.js";
import { createConnection } from "./connection.js";
import { topicKey } from "./protocol.js";
import { createFetcher } from "./fetcher.js";

/** @typedef {import("./protocol.js").Subscription} Subscription */
/** @typedef {import("./protocol.js").Fragment} Fragment */
/** @typedef {import("./protocol.js").Port} Port */

/**
 * A product in a view, at the newest version that the hub knows.
 * @typedef {object} Topic
 * @property {number} id
 * @property {string} view
 * @property {number} version
 * @property {Set<Port>} ports of the pages that subscribe to it
 * @property {Fragment} [fragment] of that version
 * @property {boolean} [reset] the version replaces newer ones
 * @property {number} [requested] the version that was last requested by HTTP
 * @property {boolean} [sent] the server knows the topic at this version
 */

/**
 * @param {string} name the protocol, the mode and the server's origin
 * @param {import("./transports.js").Env} env
 * @param {Pick<LockManager, "request">} [locks] of a hub with several pages
 * @returns {(port: Port) => void} accepts a page
 */
export const createHub = (name, env, locks) => {
  /** @type {Map<string, Topic>} */
  const topics = new Map();
  /** @type {Set<Port>} */
  const ports = new Set();
  /** @type {Set<string>} views that exist: the server has sent fragments of them */
  const views = new Set();
  const [, mode, endpoint] = name.split(" ");
  /** @type {import("./protocol.js").HubMessage} what a page is told when it joins */
  const state = {};
  const idle = createTimer(env);

  /** @param {import("./protocol.js").HubMessage} message */
  const broadcast = (message) => {
    for (const port of ports) port.postMessage(message);
  };
  const connection = createConnection(env, (path) => `${endpoint}${path}?${mode === "full" ? "" : `mode=${mode}&`}`, {
    subscriptions() {
      for (const topic of topics.values()) topic.sent = false;
      return unsent();
    },
    receive,
    report(message) {
      Object.assign(state, message);
      broadcast(message);
    },
  });
  const request = createFetcher(env, endpoint, fetched);

  /** Returns the subscriptions that the server lacks, up to a session's limit, and marks them as sent. */
  function unsent() {
    return [...topics.values()].slice(0, MAX_PRODUCTS).flatMap((topic) => {
      const { id, version, view, sent } = topic;
      topic.sent = true;
      return sent ? [] : { id, version, view };
    });
  }

  const sendUnsent = () => {
    const watch = unsent();
    if (watch[0]) connection.send({ watch });
  };

  /**
   * @param {Port} port
   * @param {Subscription} subscription
   */
  const subscribe = (port, subscription) => {
    const { version } = subscription;
    const key = topicKey(subscription);
    const topic = topics.get(key) ?? { ...subscription, ports: new Set() };
    topics.set(key, topic);
    topic.ports.add(port);
    // Either the change is still on its way to the hub, or the database was rolled back: the server knows.
    if (version > topic.version) Object.assign(topic, { version, fragment: undefined, reset: false, sent: false });
    else if (version === topic.version) return;
    if (topic.fragment) port.postMessage({ fragments: [topic.fragment] });
    else request(topic);
  };

  /**
   * Replaces the subscriptions of a page.
   * @param {Port} port
   * @param {Subscription[]} subscriptions
   */
  const setSubscriptions = (port, subscriptions) => {
    const keys = new Set(subscriptions.map(topicKey));
    const unwatch = new Set();
    for (const subscription of subscriptions) subscribe(port, subscription);
    for (const [key, { id, ports }] of topics) {
      if (keys.has(key) || !ports.delete(port) || ports.size) continue;
      topics.delete(key);
      unwatch.add(id);
    }
    if (unwatch.size) connection.send({ unwatch: [...unwatch] });
    // That removed all views of these products: subscribe to the remaining ones again.
    for (const topic of topics.values()) if (unwatch.has(topic.id)) topic.sent = false;
    sendUnsent();
  };

  /** @param {Port} port */
  const leave = (port) => {
    if (!ports.delete(port)) return;
    setSubscriptions(port, []);
    if (ports.size) return;
    // An open socket keeps a page out of the back/forward cache, so a page's own closes at once.
    if (locks) idle(connection.pause, IDLE_TIMEOUT);
    else connection.pause();
  };

  /**
   * Records what the server says is current.
   * @param {Fragment} news without html in notify mode
   * @returns {Topic | false | undefined} the topic, if that was new
   */
  const observe = (news) => {
    const { version, reset, html, view } = news;
    const topic = topics.get(topicKey(news));
    views.add(view);
    return topic && (reset || version > topic.version || (version === topic.version && !topic.fragment)) &&
      Object.assign(topic, { version, reset, fragment: html && news });
  };

  /** @param {{fragments?: Fragment[], changed?: Fragment[], error?: any}} frame */
  function receive({ fragments = [], changed = [], error }) {
    if (error) {
      broadcast({ error });
      // The server closes the session of an invalid subscription: drop it, or all pages are disconnected again and again.
      for (const [key, { id, view }] of topics) {
        if (id === error.id && error.code !== "unknown_product" && !views.has(view)) topics.delete(key);
      }
    }
    deliver(fragments.filter(observe));
    for (const news of changed) {
      const topic = observe(news);
      if (topic) request(topic);
    }
  }

  /** @param {Fragment} fragment came by HTTP */
  function fetched(fragment) {
    const topic = topics.get(topicKey(fragment));
    if (!topic || topic.version !== topic.requested) return; // the server has announced another version since
    if (topic.reset) fragment.reset = true;
    if (fragment.version > topic.version) topic.sent = false; // the server is to say if that one is lost
    observe(fragment);
    deliver([fragment]);
    sendUnsent();
  }

  /**
   * Sends each page the fragments that it subscribes to, in one message.
   * @param {Fragment[]} all
   */
  const deliver = (all) => {
    for (const port of ports) {
      const fragments = all.filter((f) => topics.get(topicKey(f))?.ports.has(port));
      if (fragments[0]) port.postMessage({ fragments });
    }
  };

  if (locks) {
    state.lock = `${name} ${env.Math.random()}`;
    locks.request(state.lock, () => new Promise(() => {})); // held as long as the worker lives
  }
  return (port) => {
    port.onmessage = (/** @type {{data: import("./protocol.js").PageMessage}} */ { data: { join, watch, applied, call, close } }) => {
      if (join) {
        ports.add(port);
        idle();
        connection.resume(join.transport);
        port.postMessage(state);
        // A page that died without leaving has lost its lock.
        if (join.lock) locks?.request(join.lock, () => leave(port));
      }
      if (watch) setSubscriptions(port, watch);
      if (close) leave(port);
      if (applied) connection.send({ applied });
      if (call) connection[call]();
    };
  };
};
