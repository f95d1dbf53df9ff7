// Shelfcast's client: keeps the products on a page up to date. It has no
// dependencies and needs no build.
//
//   import { connect } from "/assets/shelfcast.js";
//   const live = connect();      // watches what has data-product-id
//   live.close();                // and no more

import { Live } from "./live.js";
import { Page } from "./page.js";

/**
 * @typedef {object} Options
 * @property {string} [endpoint] the tier's origin or URL, such as https://live.shop.example; the page's own by default
 * @property {ParentNode & EventTarget} [root] where products are looked for; the document by default
 * @property {(status: "connecting" | "live" | "offline") => void} [onStatus]
 * @property {number} [sample] the share of pages that tell the server when they show what they were sent; 0.01
 */

/**
 * Watches every element that has data-product-id, data-product-version and
 * data-view, and replaces it when something newer comes.
 * @param {Options} [options]
 * @returns {Live}
 */
export function connect(options = {}) {
  const url = new URL("/live", options.endpoint ?? location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const page = new Page(options.root ?? document);
  const live = new Live(page, {
    open: () => new WebSocket(url, "shelfcast.v1"),
    random: Math.random,
    later: (f, ms) => setTimeout(f, ms),
    cancel: (timer) => clearTimeout(timer),
    status: options.onStatus ?? (() => {}),
    tells: Math.random() < (options.sample ?? 0.01),
  });
  addEventListener("online", () => live.hurry());
  addEventListener("offline", () => live.lost());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) live.hurry();
  });
  // A page with an open socket is not kept for the way back.
  addEventListener("pagehide", () => live.pause());
  addEventListener("pageshow", (event) => {
    if (event.persisted) live.resume();
  });
  live.resume();
  return live;
}
