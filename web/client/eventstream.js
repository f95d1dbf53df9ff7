// Server-sent events, for networks that block WebSockets.

import { formatLists } from "./http.js";
import { FIRST_EVENT_TIMEOUT } from "./limits.js";
import { createRestartable } from "./restartable.js";
import { createTimer } from "./timer.js";

/**
 * The subscriptions of a stream are fixed, so new ones need a new stream.
 * @type {import("./transports.js").Transport}
 */
export const eventStream = (env, url, { subscriptions, onopen, onmessage, onclose }) => createRestartable(env, () => {
  const firstEvent = createTimer(env);
  const sources = formatLists(subscriptions()).map((list) => {
    const source = new /** @type {typeof EventSource} */ (env.EventSource)(`${url("/live/sse")}watch=${list}`);
    source.onopen = () => firstEvent(() => onclose({ strikes: 2 }), FIRST_EVENT_TIMEOUT);
    source.onmessage = (event) => {
      firstEvent();
      onmessage(event);
    };
    source.onerror = /** @type {any} */ (onclose);
    return source;
  });
  if (!sources[0]) onopen();
  return () => {
    firstEvent();
    for (const source of sources) source.close();
  };
});
