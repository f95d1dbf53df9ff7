// The worker: one for all tabs of a browser, or, where there are no shared
// workers, a module of the page's own. Either has the connection, and tabs speak
// to it through ports.

import { tabs } from "./tabs.js";

if ("onconnect" in globalThis) {
  const accept = tabs(/** @type {any} */ (globalThis).name, globalThis, navigator.locks);
  /** @type {any} */ (globalThis).onconnect = (/** @type {MessageEvent} */ event) => accept(event.ports[0]);
}
