// The three ways to the tier, best first: a WebSocket, a stream of server-sent
// events where WebSockets are blocked, and a question each few seconds where
// streams are held back too. They hear the same frames.

import { ANSWER, GATHER, HELD, MAX_WATCH, POLL } from "./limits.js";
import { timer } from "./timer.js";
import { PROTOCOL } from "./wire.js";

/** @typedef {import("./wire.js").Shown} Shown */

/**
 * What is used of the global scope. A test gives its own.
 * @typedef {object} Env
 * @property {new (url: string, protocol: string) => WebSocket} WebSocket
 * @property {new (url: string) => EventSource} [EventSource]
 * @property {(url: string, init?: RequestInit) => Promise<Pick<Response, "ok" | "status" | "headers" | "text">>} fetch
 * @property {(f: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {{random(): number}} Math
 */

/**
 * Who has opened a transport.
 * @typedef {object} Ear
 * @property {() => Shown[]} items all that is to be watched, now
 * @property {() => void} onopen there is nothing to hear yet
 * @property {(event: {data: string}) => void} onmessage that is open, too
 * @property {(why?: {counts?: number, after?: number}) => void} onclose counts: as a sign that something on the way holds it back; after: not before so many ms
 */

/**
 * What is said to the tier, one at a time.
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

/** @typedef {(path: string) => string} Address a query may follow */

/** @type {((env: Env, url: Address, ear: Ear) => Link)[]} */
export const transports = [
  (env, url, ear) => {
    const ws = new env.WebSocket(url("/live").replace("http", "ws"), PROTOCOL);
    /** @param {Said} said */
    const say = (said) => {
      const { watch } = said;
      if (ws.readyState !== 1) return;
      do ws.send(JSON.stringify(watch ? { watch: watch.splice(0, MAX_WATCH) } : said));
      while (watch?.[0]);
    };
    ws.onopen = () => {
      say({ watch: ear.items() });
      ear.onopen();
    };
    ws.onmessage = ear.onmessage;
    ws.onclose = /** @type {any} */ (ear.onclose);
    return { say, close: () => ws.close() };
  },

  (env, url, ear) => {
    // What a stream watches is fixed: to watch more, there is a new one.
    return gather(env, () => {
      const held = timer(env);
      const sources = lists(ear.items()).map((list) => {
        const source = new /** @type {typeof EventSource} */ (env.EventSource)(`${url("/live/sse")}watch=${list}`);
        source.onopen = () => held(() => ear.onclose({ counts: 2 }), HELD);
        source.onmessage = (event) => {
          held();
          ear.onmessage(event);
        };
        source.onerror = /** @type {any} */ (ear.onclose);
        return source;
      });
      if (!sources[0]) ear.onopen();
      return () => {
        held();
        for (const source of sources) source.close();
      };
    });
  },

  (env, url, ear) => gather(env, (again) => {
    let over = false;
    ask(env, url, ear.items(), (event) => over || ear.onmessage(event)).then((refused) => {
      if (over) return;
      if (refused) return ear.onclose(refused);
      ear.onopen();
      again(POLL * (0.5 + env.Math.random()));
    });
    return () => {
      over = true;
    };
  }),
];

/**
 * A link that starts, and starts anew soon when there is more to watch, or when it
 * is to show that it lives.
 * @param {Env} env
 * @param {(again: (ms: number) => void) => (() => void)} start returns how to stop
 * @returns {Link}
 */
const gather = (env, start) => {
  const wait = timer(env);
  let soon = true;
  let stop = () => {};
  const again = (/** @type {number} */ ms) => wait(() => {
    soon = false;
    stop();
    stop = start(again);
  }, ms);
  again(0);
  return {
    say({ watch, ping }) {
      if (!soon && (watch || ping)) {
        soon = true;
        again(GATHER);
      }
    },
    close() {
      wait();
      stop();
    },
  };
};

/**
 * Asks once what is new.
 * @param {Env} env
 * @param {Address} url
 * @param {Shown[]} items
 * @param {(event: {data: string}) => unknown} heard
 * @returns {Promise<{after: number} | undefined>} undefined: all went well
 */
export const ask = async (env, url, items, heard) => {
  try {
    for (let list of lists(items)) {
      do {
        const data = await get(env, `${url("/live/poll")}watch=${list}`);
        const { next } = JSON.parse(data);
        heard({ data });
        // There was more than an answer may have: what comes after is asked for at once.
        list = next ? list.split(",").slice(next).join() : "";
      } while (list);
    }
  } catch (/** @type {any} */ error) {
    return error;
  }
};

/**
 * @param {Env} env
 * @param {string} url
 * @returns {Promise<string>} or an error with status and after, the milliseconds to wait
 */
export const get = async (env, url) => {
  const response = await env.fetch(url, { signal: AbortSignal.timeout?.(ANSWER) });
  if (response.ok) return response.text();
  throw { status: response.status, after: 1000 * Number(response.headers.get("Retry-After")) || 0 };
};

/**
 * The lists of addresses, ID:VERSION:VIEW with commas, as few as have room for all:
 * what is on the way takes addresses of 7,000 characters.
 * @param {Shown[]} items
 * @returns {string[]}
 */
export const lists = (items) => items.map(({ id, version, view }) => `${id}:${version}:${view}`).join().match(/[^,].{0,6500}(?=,|$)/g) ?? [];
