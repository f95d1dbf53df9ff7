// The connection to the server. It reconnects after a loss, and changes to the next
// transport when the network blocks one.

import { warn } from "./protocol.js";
import { backoff, createTimer } from "./timer.js";
import { OPEN_TIMEOUT, PING_AFTER, PONG_TIMEOUT, STABLE_AFTER } from "./limits.js";
import { transports } from "./transports.js";
import { poll } from "./http.js";

/**
 * @typedef {object} Owner
 * @property {() => import("./protocol.js").Subscription[]} subscriptions returns all current subscriptions
 * @property {(frame: any) => void} receive
 * @property {(message: import("./protocol.js").HubMessage) => void} report is told the status, and the transport after a change
 */

/**
 * @param {import("./transports.js").Env} env
 * @param {import("./transports.js").Address} url
 * @param {Owner} owner
 */
export const createConnection = (env, url, { subscriptions, receive, report }) => {
  const retry = createTimer(env);
  const stable = createTimer(env);
  const watchdog = createTimer(env);
  // The first one is in use. One that is blocked is removed.
  const usable = Object.keys(transports).filter((api) => env[/** @type {"fetch"} */ (api)]);
  /** @type {import("./transports.js").Channel | undefined} */
  let channel;
  let open = false;
  let wanted = false;
  let failures = 0;
  // How often this transport has failed while plain HTTP worked, and how often it
  // may: one that has worked here is hardly blocked.
  let strikes = 0;
  let allowed = 2;

  // A random duration between ms and twice ms.
  const jitter = (/** @type {number} */ ms) => ms * (1 + env.Math.random());

  const connect = () => {
    retry();
    if (channel || !wanted) return;
    report({ status: "connecting" });
    // What a closed channel still delivers may be older than what the next one brought.
    const ifCurrent = (/** @type {(x?: any) => void} */ f) => /** @type {typeof f} */ ((x) => {
      if (channel === own) f(x);
    });
    const own = transports[usable[0]](env, url, { subscriptions, onopen: ifCurrent(opened), onmessage: ifCurrent(received), onclose: ifCurrent(closed) });
    channel = own;
    watchdog(closed, OPEN_TIMEOUT);
  };

  const opened = () => {
    if (open) return;
    open = true;
    allowed = 5;
    report({ status: "live" });
    stable(() => {
      failures = strikes = 0;
    }, STABLE_AFTER);
    awaitMessage();
  };

  // Scripts cannot see the server's own pings.
  const awaitMessage = () => watchdog(probe, jitter(PING_AFTER));

  /** @param {{data: string}} event */
  const received = (event) => {
    opened();
    awaitMessage();
    parse(event);
  };

  /** @param {{data: string}} event */
  const parse = ({ data }) => {
    try {
      receive(JSON.parse(data));
    } catch (error) {
      warn(error);
    }
  };

  const probe = () => {
    if (!open) return; // OPEN_TIMEOUT applies
    channel?.send({ ping: 1 });
    watchdog(disconnect, PONG_TIMEOUT);
  };

  const disconnect = (retryAfter = 0) => {
    if (!channel) return;
    stable();
    watchdog();
    channel = void channel.close();
    open = false;
    report({ status: "offline" });
    // Browsers that were told the same time to retry do not come back together either.
    retry(connect, Math.max(backoff(env, failures++), jitter(retryAfter)));
  };

  // A transport that does not open may be blocked; or the network is down, or the
  // server is full. A poll by plain HTTP tells, and brings what has changed.
  /** @param {import("./transports.js").CloseReason} [reason] */
  const closed = async ({ strikes: more = 1, retryAfter } = {}) => {
    const [tried, alternative] = open ? [] : usable;
    disconnect(retryAfter);
    if (!alternative) return;
    const all = subscriptions();
    const error = await poll(env, url, all, (event) => {
      if (!open) parse(event);
    });
    if (tried !== usable[0] || open) return;
    // Said once in a row, for the shop's developers.
    if (error?.status === 403 && failures < 2) receive({ error: "--origins lacks this origin" });
    strikes = all[0] && !error ? strikes + more : 0;
    if (strikes >= allowed) {
      usable.shift();
      report({ transport: usable[0] });
      strikes = failures = 0;
      allowed = 2;
      online();
    } else if (error?.retryAfter) retry(connect, jitter(error.retryAfter));
  };

  // The network may work again, or no longer: retries soon, but not together with all
  // other browsers, or pings.
  const online = () => {
    if (channel) probe();
    else retry(connect, backoff(env, 0));
  };

  return {
    /**
     * Connects, and stays connected until pause.
     * @param {string} [transport] to begin with, unless one has worked here
     */
    resume(transport = "") {
      const n = usable.indexOf(transport);
      wanted = true;
      if (!channel && allowed === 2 && n > 0) usable.splice(0, n);
      connect();
    },

    /** Disconnects until resume. */
    pause() {
      disconnect();
      wanted = false;
      retry();
    },

    online,
    /** The network is down: closes the connection, which may not have noticed, and retries later. */
    offline: disconnect,

    /** @param {import("./protocol.js").ClientFrame} frame is dropped without a connection */
    send(frame) {
      channel?.send(frame);
    },
  };
};
