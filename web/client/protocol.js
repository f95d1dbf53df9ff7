// The protocol shelfcast.v1 between browser and server, and the messages between
// a page and its hub.

/**
 * A product in a view, and the version that the page shows; 0: none yet.
 * @typedef {{id: number, version: number, view: string}} Subscription
 */

/**
 * @typedef {object} Fragment
 * @property {number} id
 * @property {number} version
 * @property {string} view
 * @property {string} html
 * @property {boolean} [reset] the database was rolled back: show this version although it is older
 */

/**
 * A frame to the server. It has one of these properties.
 * @typedef {object} ClientFrame
 * @property {Subscription[]} [watch]
 * @property {number[]} [unwatch]
 * @property {{id: number, version: number}[]} [applied]
 * @property {number} [ping]
 */

/**
 * A message from a page to its hub.
 * @typedef {object} PageMessage
 * @property {{lock?: string, transport?: string}} [join] the first message
 * @property {Subscription[]} [watch] all subscriptions of the page; they replace the previous ones
 * @property {{id: number, version: number}[]} [applied] versions that the page shows now
 * @property {"online" | "offline"} [call] the method of the connection to call
 * @property {boolean} [close] the last message
 */

/**
 * A message from the hub to its pages.
 * @typedef {object} HubMessage
 * @property {string} [lock] the name of a lock that the hub holds as long as it lives
 * @property {Status} [status]
 * @property {string} [transport] the transport in use, if the preferred one is blocked
 * @property {Fragment[]} [fragments]
 * @property {string | {code: string, message: string, id?: number}} [error]
 */

/**
 * One end of the channel between a page and its hub: a MessagePort, or the same in one page.
 * @typedef {{postMessage: (message: any) => void, onmessage?: any}} Port
 */

/** @typedef {"connecting" | "live" | "offline"} Status */

/** The version of the WebSocket protocol and of the messages between pages and hub. */
export const PROTOCOL = "shelfcast.v1";

/** @param {{id: number, view: string}} topic */
export const topicKey = ({ id, view }) => `${view} ${id}`;

/**
 * @param {unknown} message
 * @returns {true}
 */
export const warn = (message) => (console.warn("shelfcast:", message), true);
