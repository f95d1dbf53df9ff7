// The worker: one for all tabs of a browser, or, where there are no shared
// workers, a module of the page's own. Either has the connection, and tabs speak
// to it through ports.

import { tabs } from "./tabs.js";

const SHARED = "onconnect" in globalThis;

/**
 * @param {string} name the protocol, the mode and the tier's origin
 * @returns {(port: import("./wire.js").Port) => void} takes a tab
 */
export const serve = (name) => tabs(
  name,
  {
    socket: (url, protocol) => new WebSocket(url, protocol),
    source: globalThis.EventSource && ((url) => new EventSource(url)),
    fetch: (url) => fetch(url, { signal: AbortSignal.timeout?.(30_000) }),
    random: Math.random,
    later: (f, ms) => setTimeout(f, ms),
    cancel: (timer) => clearTimeout(timer),
  },
  SHARED ? navigator.locks : undefined,
);

if (SHARED) {
  const accept = serve(/** @type {any} */ (globalThis).name);
  /** @type {any} */ (globalThis).onconnect = (/** @type {MessageEvent} */ event) => accept(event.ports[0]);
}
