// What is said between a browser and the tier, and between a tab and its worker.

/**
 * One product in one view, at the version that is shown; 0: none yet.
 * @typedef {{id: number, version: number, view: string}} Shown
 */

/**
 * @typedef {object} Fragment
 * @property {number} id
 * @property {number} version
 * @property {string} view
 * @property {string} html
 * @property {boolean} [reset] the version shown is one that the shop has lost: this older one is right
 */

/**
 * What a tab tells its worker.
 * @typedef {object} ToWorker
 * @property {{lock?: string, via?: number}} [join] comes first
 * @property {Shown[]} [want] all that is shown, and as what
 * @property {{id: number, version: number}[]} [applied]
 * @property {"hurry" | "lost"} [poke] there is reason to think that the network works, or does not
 * @property {boolean} [bye]
 */

/**
 * What it tells its tabs.
 * @typedef {object} ToTab
 * @property {string} [lock] the worker has this lock for as long as it lives
 * @property {Status} [status]
 * @property {number} [via] the transport that works here
 * @property {Fragment[]} [fragments]
 * @property {{code: string, message: string, id?: number}} [error]
 */

/**
 * An end of what connects a tab and its worker.
 * @typedef {{postMessage: (message: any) => void, onmessage?: any}} Port
 */

/** @typedef {"connecting" | "live" | "offline"} Status */

/** The version of what tabs and workers say to each other, and of the wire. */
export const PROTOCOL = "shelfcast.v1";

/**
 * The value of an attribute; a text has none, nor has what is not there.
 * @param {any} node
 * @param {string} name
 */
export const get = (node, name) => node?.getAttribute?.(name);

/** @param {{id: number, view: string}} item */
export const keyOf = ({ id, view }) => `${view} ${id}`;

/**
 * @param {unknown} what
 * @returns {true} it has been said
 */
export const warn = (what) => (console.warn("shelfcast:", what), true);

/**
 * @param {Node} node
 * @param {string} name
 * @param {unknown} detail
 * @returns {boolean} nobody has canceled it
 */
export const emit = (node, name, detail) =>
  node.dispatchEvent(new CustomEvent(`shelfcast:${name}`, { bubbles: true, cancelable: true, detail }));
