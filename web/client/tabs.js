// All tabs of a browser that show products of one tier: what they show, what the
// tier was told of it, and the last fragment of each. They share one connection.
//
// Of each product in each view the tier is told the newest version that any tab
// shows, and so can say when that is lost. A tab that shows an older one gets what
// is held here, or else that version by HTTP.

import { gets } from "./gets.js";
import { LINGER, MAX_PRODUCTS } from "./limits.js";
import { live } from "./live.js";
import { timer } from "./timer.js";
import { keyOf } from "./wire.js";

/** @typedef {import("./wire.js").Shown} Shown */
/** @typedef {import("./wire.js").Fragment} Fragment */
/** @typedef {import("./wire.js").Port} Port a tab, by its port */

/**
 * A product in a view, at the newest version that is known here.
 * @typedef {object} Item
 * @property {number} id
 * @property {string} view
 * @property {number} version
 * @property {Set<Port>} tabs
 * @property {Fragment} [fragment] of that version
 * @property {boolean} [reset] that version is to be shown in place of newer ones
 * @property {number} [asked] the version that was last asked for by HTTP
 * @property {boolean} [said] the tier knows of it
 */

/**
 * @param {string} name the protocol, the mode and the tier's origin
 * @param {import("./transports.js").Env} env
 * @param {Pick<LockManager, "request">} [locks] if several tabs may come
 * @returns {(port: Port) => void} takes a tab
 */
export const tabs = (name, env, locks) => {
  /** @type {Map<string, Item>} */
  const items = new Map();
  /** @type {Set<Port>} */
  const ports = new Set();
  /** @type {Set<string>} views that the tier has shown to exist */
  const views = new Set();
  const [, mode, endpoint] = name.split(" ");
  /** @type {import("./wire.js").ToTab} what a tab is told when it comes */
  const now = {};
  const idle = timer(env);

  /** @param {import("./wire.js").ToTab} message */
  const all = (message) => {
    for (const port of ports) port.postMessage(message);
  };
  const connection = live(env, (path) => `${endpoint}${path}?${mode === "full" ? "" : `mode=${mode}&`}`, {
    items() {
      for (const item of items.values()) item.said = false;
      return unsaid();
    },
    take,
    tell(news) {
      Object.assign(now, news);
      all(news);
    },
  });
  const need = gets(env, endpoint, got);

  /** What a session may watch, and does not: what came first. It is being said. */
  function unsaid() {
    return [...items.values()].slice(0, MAX_PRODUCTS).flatMap((item) => {
      const { id, version, view, said } = item;
      item.said = true;
      return said ? [] : { id, version, view };
    });
  }

  const sync = () => {
    const watch = unsaid();
    if (watch[0]) connection.say({ watch });
  };

  /**
   * @param {Port} port
   * @param {Shown} shown
   */
  const add = (port, shown) => {
    const { version } = shown;
    const key = keyOf(shown);
    const item = items.get(key) ?? { ...shown, tabs: new Set() };
    items.set(key, item);
    item.tabs.add(port);
    // The news of it is on its way, or the database was restored: the tier knows.
    if (version > item.version) Object.assign(item, { version, fragment: undefined, reset: false, said: false });
    else if (version === item.version) return;
    if (item.fragment) port.postMessage({ fragments: [item.fragment] });
    else need(item);
  };

  /**
   * @param {Port} port
   * @param {Shown[]} all that it shows
   */
  const want = (port, all) => {
    const keys = new Set(all.map(keyOf));
    const unwatch = new Set();
    for (const shown of all) add(port, shown);
    for (const [key, { id, tabs }] of items) {
      if (keys.has(key) || !tabs.delete(port) || tabs.size) continue;
      items.delete(key);
      unwatch.add(id);
    }
    if (unwatch.size) connection.say({ unwatch: [...unwatch] });
    // That was all views of it.
    for (const item of items.values()) if (unwatch.has(item.id)) item.said = false;
    sync();
  };

  /** @param {Port} port */
  const leave = (port) => {
    if (!ports.delete(port)) return;
    want(port, []);
    if (ports.size) return;
    // A page that has an open socket is not kept for the way back: its own goes at once.
    if (locks) idle(connection.pause, LINGER);
    else connection.pause();
  };

  /**
   * Takes down what the tier says is current, if it is news.
   * @param {Fragment} news
   * @returns {Item | false | undefined}
   */
  const note = (news) => {
    const { version, reset, html, view } = news;
    const item = items.get(keyOf(news));
    views.add(view);
    return item && (reset || version > item.version || (version === item.version && !item.fragment)) &&
      Object.assign(item, { version, reset, fragment: html && news });
  };

  /** @param {{fragments?: Fragment[], changed?: Fragment[], error?: any}} frame */
  function take({ fragments = [], changed = [], error }) {
    if (error) {
      all({ error });
      // The tier hangs up on what is wrong. One tab's mistake is not to be all tabs'.
      for (const [key, { id, view }] of items) {
        if (id === error.id && error.code !== "unknown_product" && !views.has(view)) items.delete(key);
      }
    }
    show(fragments.filter(note));
    for (const news of changed) {
      const item = note(news);
      if (item) need(item);
    }
  }

  /**
   * Something came by HTTP.
   * @param {Fragment} fragment
   */
  function got(fragment) {
    const item = items.get(keyOf(fragment));
    if (!item || item.version !== item.asked) return; // the tier has said something else since
    if (item.reset) fragment.reset = true;
    if (fragment.version > item.version) item.said = false; // that may be lost, too
    note(fragment);
    show([fragment]);
    sync();
  }

  /**
   * Hands each tab what it shows, in one message.
   * @param {Fragment[]} all
   */
  const show = (all) => {
    for (const port of ports) {
      const fragments = all.filter((f) => items.get(keyOf(f))?.tabs.has(port));
      if (fragments[0]) port.postMessage({ fragments });
    }
  };

  if (locks) {
    now.lock = `${name} ${env.Math.random()}`;
    locks.request(now.lock, () => new Promise(() => {})); // for as long as this lives
  }
  return (port) => {
    port.onmessage = (/** @type {{data: import("./wire.js").ToWorker}} */ { data: { join, want: all, applied, poke, bye } }) => {
      if (join) {
        ports.add(port);
        idle();
        connection.resume(join.via);
        port.postMessage(now);
        // A tab that is gone without a word has lost its lock.
        if (join.lock) locks?.request(join.lock, () => leave(port));
      }
      if (all) want(port, all);
      if (bye) leave(port);
      if (applied) connection.say({ applied });
      if (poke) connection[poke]();
    };
  };
};
