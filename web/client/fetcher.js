// Fetches fragments by plain HTTP, so that caches on the way can serve them: those of
// which only the version was announced, and those that one of several pages lacks.
// A failed request is repeated as long as a page wants the fragment.

import { fetchText, formatLists } from "./http.js";
import { MAX_FRAGMENTS } from "./limits.js";
import { warn } from "./protocol.js";
import { backoff } from "./timer.js";

/** @typedef {import("./hub.js").Topic} Topic */

/**
 * @param {import("./transports.js").Env} env
 * @param {string} endpoint the server's origin
 * @param {(fragment: import("./protocol.js").Fragment) => void} fetched
 * @returns {(topic: Topic) => void} requests a topic's fragment, at the topic's version when the request is sent
 */
export const createFetcher = (env, endpoint, fetched) => {
  /** @type {Set<Topic>} */
  const queue = new Set();
  let running = false;
  let failures = 0;
  let delay = 0;

  const run = async () => {
    delay = 0;
    // Sorted, so that all browsers request the same URLs.
    const topics = [...queue]
      .filter((topic) => topic.ports.size && !topic.fragment)
      .sort((a, b) => +(a.view > b.view) || -(a.view < b.view) || a.id - b.id);
    queue.clear();
    for (const topic of topics.splice(MAX_FRAGMENTS)) queue.add(topic);
    await (topics[2] ? request(topics) : requestEach(topics));
    failures = delay ? failures + 1 : 0;
    running = queue.size > 0;
    if (running) env.setTimeout(run, delay);
  };

  /** @param {Topic[]} topics */
  const requestEach = (topics) => Promise.all(topics.map((topic) => request([topic])));

  /** @param {Topic[]} topics */
  const request = async (topics) => {
    const [{ view, id, version }] = topics;
    for (const topic of topics) topic.requested = topic.version;
    try {
      const path = topics[1] ? `/fragments?ids=${formatLists(topics)}` : `/fragments/${view}/${id}?v=${version}`;
      const response = JSON.parse(await fetchText(env, endpoint + path));
      for (const f of response.fragments ?? [response]) fetched(f);
      // The response was full: ask for the rest.
      if (response.next) for (const topic of topics.slice(response.next)) queue.add(topic);
    } catch (/** @type {any} */ error) {
      const { status, retryAfter = 0 } = error;
      if (/^4(?!29)/.test(status)) {
        // One invalid topic must not fail the others.
        if (topics[1]) await requestEach(topics);
        else warn({ id, view, status });
        return;
      }
      delay = Math.max(delay, retryAfter + backoff(env, failures + 1));
      for (const topic of topics) queue.add(topic);
    }
  };

  return (topic) => {
    queue.add(topic);
    if (!running) queueMicrotask(run); // topics of one event share a request
    running = true;
  };
};
