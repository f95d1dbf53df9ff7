// Requests by plain HTTP.

import { RESPONSE_TIMEOUT } from "./limits.js";

/** @typedef {import("./transports.js").Env} Env */
/** @typedef {import("./protocol.js").Subscription} Subscription */

/**
 * @typedef {object} HTTPError
 * @property {number} [status] missing if there was no response
 * @property {number} [retryAfter] in milliseconds; 0 if the server did not say
 */

/**
 * @param {Env} env
 * @param {string} url
 * @returns {Promise<string>} rejects with an HTTPError
 */
export const fetchText = async (env, url) => {
  const response = await env.fetch(url, { signal: AbortSignal.timeout?.(RESPONSE_TIMEOUT) });
  if (response.ok) return response.text();
  throw { status: response.status, retryAfter: 1000 * /** @type {any} */ (response.headers.get("Retry-After")) || 0 };
};

/**
 * Formats subscriptions for URLs, as ID:VERSION:VIEW with commas. There are as few
 * lists as possible of up to 6,500 characters; proxies accept URLs of 7,000.
 * @param {Subscription[]} subscriptions
 * @returns {string[]}
 */
export const formatLists = (subscriptions) =>
  subscriptions.map(({ id, version, view }) => `${id}:${version}:${view}`).join().match(/[^,].{0,6500}(?=,|$)/g) ?? [];

/**
 * Asks once what has changed.
 * @param {Env} env
 * @param {import("./transports.js").Address} url
 * @param {Subscription[]} subscriptions
 * @param {(event: {data: string}) => unknown} onmessage
 * @returns {Promise<HTTPError | undefined>}
 */
export const poll = async (env, url, subscriptions, onmessage) => {
  try {
    for (let list of formatLists(subscriptions)) {
      do {
        const data = await fetchText(env, `${url("/live/poll")}watch=${list}`);
        const { next } = JSON.parse(data);
        onmessage({ data });
        // The response was full: ask for the rest.
        list = next ? list.split(",").slice(next).join() : "";
      } while (list);
    }
  } catch (/** @type {any} */ error) {
    return error;
  }
};
