// The worker: one for all tabs of a browser, or, where there are no shared
// workers, a module of the page's own. Either has the connection, and tabs speak
// to it through ports.

import { tabs } from "./tabs.js";

/**
 * @param {string} name the protocol, the mode and the tier's origin
 * @param {Pick<LockManager, "request">} [locks] if it is for several tabs
 * @returns {(port: import("./wire.js").Port) => void} takes a tab
 */
export const serve = (name, locks) => tabs(name, globalThis, locks);

if ("onconnect" in globalThis) {
  const accept = serve(/** @type {any} */ (globalThis).name, navigator.locks);
  /** @type {any} */ (globalThis).onconnect = (/** @type {MessageEvent} */ event) => accept(event.ports[0]);
}
