// The transports. To add one, write a module with a function of type Transport, and
// add it to the list at the end under the name of a browser's API that no other has.

import { eventStream } from "./eventstream.js";
import { polling } from "./polling.js";
import { webSocket } from "./websocket.js";

/** @typedef {import("./protocol.js").ClientFrame} ClientFrame */
/** @typedef {import("./protocol.js").Subscription} Subscription */

/**
 * The globals that are used. Tests replace them.
 * @typedef {object} Env
 * @property {new (url: string, protocol: string) => WebSocket} WebSocket
 * @property {new (url: string) => EventSource} [EventSource]
 * @property {(url: string, init?: RequestInit) => Promise<Pick<Response, "ok" | "status" | "headers" | "text">>} fetch
 * @property {(f: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {{random(): number}} Math
 */

/**
 * A way to exchange frames with the server: opens a channel.
 * @typedef {(env: Env, url: Address, handlers: Handlers) => Channel} Transport
 */

/**
 * What a transport calls.
 * @typedef {object} Handlers
 * @property {() => Subscription[]} subscriptions returns all current subscriptions
 * @property {() => void} onopen the transport works; onmessage implies that
 * @property {(event: {data: string}) => void} onmessage
 * @property {(reason?: CloseReason) => void} onclose
 */

/**
 * @typedef {object} CloseReason
 * @property {number} [strikes] how much the failure counts as a sign that the network blocks this transport; 1
 * @property {number} [retryAfter] milliseconds
 */

/**
 * An open transport.
 * @typedef {object} Channel
 * @property {(frame: ClientFrame) => void} send frames sent before onopen may be dropped, because the transport calls subscriptions when it opens
 * @property {() => void} close
 */

/** @typedef {(path: string) => string} Address returns the URL of a path; more query parameters may be appended */

/**
 * The transports, best first. Each is named for the browser's API that it needs, and
 * skipped where that is missing.
 * @type {Record<string, Transport>}
 */
export const transports = { WebSocket: webSocket, EventSource: eventStream, fetch: polling };
