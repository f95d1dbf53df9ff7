// The three ways to the tier, best first: a WebSocket, a stream of server-sent
// events where WebSockets are blocked, and a question each few seconds where
// streams are held back too. They hear the same frames.

import { PROTOCOL } from "./wire.js";

/** @typedef {import("./wire.js").Shown} Shown */

/**
 * The surroundings of a connection, so that a test can be them.
 * @typedef {object} Env
 * @property {(url: string, protocol: string) => WebSocket} socket
 * @property {((url: string) => EventSource) | undefined} source
 * @property {(url: string) => Promise<Pick<Response, "ok" | "status" | "headers" | "text">>} fetch
 * @property {() => number} random as Math.random
 * @property {(f: () => void, ms: number) => any} later
 * @property {(timer: any) => void} cancel
 */

/**
 * Who has opened a transport.
 * @typedef {object} Ear
 * @property {() => Shown[]} items all that is to be watched, now
 * @property {() => void} opened there is nothing to hear yet
 * @property {(text: string) => void} heard that is open, too
 * @property {(why?: {held?: boolean, after?: number}) => void} closed held: something on the way holds streams back; after: not before so many ms
 */

/**
 * @typedef {object} Said
 * @property {Shown[]} [watch]
 * @property {number[]} [unwatch]
 * @property {{id: number, version: number}[]} [applied]
 * @property {number} [ping]
 */

/**
 * @typedef {object} Link
 * @property {(said: Said) => void} say before it is open, nothing need be said: items has it all
 * @property {() => void} close
 */

/** A frame has fewer bytes than the server's 16 KiB; what we send is ASCII. */
export const MAX_FRAME = 12_000;
/** An address has fewer than the 7,000 characters that all on the way take. */
const MAX_LIST = 6_500;
const POLL = 5_000;
/** A stream says something at once. If it does not, something holds it back. */
const HELD = 5_000;
/** What comes to be watched within this needs one stream, or question. */
const GATHER = 100;

/** @type {((env: Env, url: (path: string, list?: string) => string, ear: Ear) => Link)[]} */
export const transports = [
  function socket(env, url, ear) {
    const ws = env.socket(url("/live").replace("http", "ws"), PROTOCOL);
    /** @param {Said} said */
    const say = ({ watch, ...rest }) => {
      if (ws.readyState !== 1) return;
      if (Object.keys(rest).length) ws.send(JSON.stringify(rest));
      for (const list of split((watch ?? []).map((item) => JSON.stringify(item)), MAX_FRAME)) ws.send(`{"watch":[${list}]}`);
    };
    ws.onopen = () => {
      say({ watch: ear.items() });
      ear.opened();
    };
    ws.onmessage = (event) => ear.heard(event.data);
    ws.onclose = () => ear.closed();
    return { say, close: () => ws.close() };
  },

  function stream(env, url, ear) {
    /** @type {EventSource[]} */
    let sources = [];
    const close = () => {
      for (const source of sources.splice(0)) source.close();
    };
    // What a stream watches is fixed: to watch more, there is a new one.
    return gather(env, close, () => {
      close();
      for (const list of lists(ear.items())) {
        const source = /** @type {NonNullable<Env["source"]>} */ (env.source)(url("/live/sse", list));
        /** @type {any} */
        let held;
        source.onopen = () => {
          held = env.later(() => sources.includes(source) && ear.closed({ held: true }), HELD);
        };
        source.onmessage = (event) => {
          env.cancel(held);
          ear.heard(event.data);
        };
        source.onerror = () => ear.closed();
        sources.push(source);
      }
      if (!sources.length) ear.opened();
    });
  },

  function poll(env, url, ear) {
    let turn = 0;
    const link = gather(env, () => turn++, async () => {
      const mine = ++turn;
      const refused = await ask(env, url, ear.items(), (text) => mine === turn && ear.heard(text));
      if (mine !== turn) return;
      if (refused) return ear.closed(refused);
      ear.opened();
      link.next(POLL * (0.5 + env.random()));
    });
    return link;
  },
];

/**
 * A link that starts, and starts again soon when there is more to watch, or when
 * it is to show that it lives.
 * @param {Env} env
 * @param {() => void} close
 * @param {() => void} start
 */
function gather(env, close, start) {
  /** @type {any} */
  let timer;
  let soon = true;
  const next = (/** @type {number} */ ms) => {
    env.cancel(timer);
    timer = env.later(() => {
      soon = false;
      start();
    }, ms);
  };
  next(0);
  return {
    next,
    say(/** @type {Said} */ { watch, ping }) {
      if (soon || !(watch || ping)) return;
      soon = true;
      next(GATHER);
    },
    close() {
      env.cancel(timer);
      close();
    },
  };
}

/**
 * Asks once what is new.
 * @param {Env} env
 * @param {(path: string, list?: string) => string} url
 * @param {Shown[]} items
 * @param {(text: string) => void} heard
 * @returns {Promise<{after: number} | undefined>} undefined: all went well
 */
export async function ask(env, url, items, heard) {
  for (const list of lists(items)) {
    try {
      heard(await get(env, url("/live/poll", list)));
    } catch (error) {
      return { after: /** @type {any} */ (error).after ?? 0 };
    }
  }
}

/**
 * @param {Env} env
 * @param {string} url
 * @returns {Promise<string>} or an error with status and after, the milliseconds to wait
 */
export async function get(env, url) {
  const response = await env.fetch(url);
  const { ok, status } = response;
  if (!ok) throw Object.assign(new Error(`${status}`), { status, after: 1000 * Number(response.headers.get("Retry-After")) || 0 });
  return response.text();
}

/**
 * The lists of an address: ID:VERSION:VIEW, with commas.
 * @param {Shown[]} items
 */
export const lists = (items) => split(items.map(({ id, version, view }) => `${id}:${version}:${encodeURIComponent(view)}`), MAX_LIST);

/**
 * Joins texts, with commas, to as few as have at most so many characters each.
 * @param {string[]} texts
 * @param {number} most
 */
export function split(texts, most) {
  /** @type {string[]} */
  const joined = [];
  for (const text of texts) {
    const last = joined.length - 1;
    if (last >= 0 && joined[last].length + text.length < most) joined[last] += "," + text;
    else joined.push(text);
  }
  return joined;
}
