import { MAX_WATCH } from "./limits.js";
import { PROTOCOL } from "./protocol.js";

/** @type {import("./transports.js").Transport} */
export const webSocket = (env, url, { subscriptions, onopen, onmessage, onclose }) => {
  const ws = new env.WebSocket(url("/live").replace("http", "ws"), PROTOCOL);
  /** @param {import("./protocol.js").ClientFrame} frame */
  const send = (frame) => {
    const { watch } = frame;
    if (ws.readyState !== 1) return;
    do ws.send(JSON.stringify(watch ? { watch: watch.splice(0, MAX_WATCH) } : frame));
    while (watch?.[0]);
  };
  ws.onopen = () => {
    send({ watch: subscriptions() });
    onopen();
  };
  ws.onmessage = onmessage;
  ws.onclose = /** @type {any} */ (onclose);
  return { send, close: () => ws.close() };
};
