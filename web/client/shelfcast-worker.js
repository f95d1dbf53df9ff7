// The script of the shared worker, which runs the hub for all pages of a browser.
// Browsers without shared workers run the same hub in each page.

import { createHub } from "./hub.js";

if ("onconnect" in globalThis) {
  const accept = createHub(/** @type {any} */ (globalThis).name, globalThis, navigator.locks);
  /** @type {any} */ (globalThis).onconnect = (/** @type {MessageEvent} */ event) => accept(event.ports[0]);
}
