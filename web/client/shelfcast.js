// The Shelfcast client: keeps the products on a page up to date. It has no
// dependencies and needs no build.
//
//   <script type="module" src="https://live.shop.example/assets/shelfcast.js" data-endpoint></script>
//
//   import { connect } from "shelfcast";
//   const live = connect({ endpoint: "https://live.shop.example" });
//   const stop = live.watch({ id: 42, view: "card" }, (fragment) => …);

import { createHub } from "./hub.js";
import { PROTOCOL } from "./protocol.js";
import { HIDDEN_TIMEOUT, HIGHLIGHT_DURATION } from "./limits.js";
import { createPort } from "./port.js";
import { attribute, emit } from "./dom.js";
import { watchPage } from "./page.js";
import { createTimer } from "./timer.js";
import { morph as defaultMorph } from "./morph.js";
import "./shelfcast-worker.js";

/**
 * Connects to the server, and keeps every element up to date that has
 * data-product-id, data-product-version and data-view and is near the screen.
 * index.d.ts describes the options.
 * @param {import("./index.d.ts").Options} [options]
 * @returns {import("./index.d.ts").Connection}
 */
export const connect = (options = {}) => {
  const { endpoint = "", mode = "full", worker, root = document, highlight = false, sample = 0.01, morph = defaultMorph, onStatus } = options;
  const name = `${PROTOCOL} ${mode} ${new URL(endpoint, location.href).origin}`;
  const end = new AbortController();
  const { signal } = end;
  const hidden = createTimer(globalThis);
  let left = false;

  const port = createPort({
    shared: (failed) => openWorker(name, worker, failed),
    accept: createHub(name, globalThis),
    locks: navigator.locks,
    sample: Math.random() < sample,
    transport(api) {
      try {
        if (api) sessionStorage[name] = api;
        return sessionStorage[name];
      } catch {
        // Storage is forbidden: each page finds out again.
      }
    },
    onStatus(status) {
      onStatus?.(status);
      emit(root, "status", status);
    },
  });
  const live = Object.assign(port, {
    morph,
    close() {
      end.abort();
      port.pause();
    },
  });
  watchPage(root, live, (element) => {
    if (highlight === false || matchMedia("(prefers-reduced-motion:reduce)").matches) return;
    element.animate([{ backgroundColor: (highlight !== true && highlight) || "#ffec9e", offset: 0 }], HIGHLIGHT_DURATION);
  }, signal, globalThis);

  const leave = () => {
    left = true;
    port.pause();
  };
  const comeBack = () => {
    hidden();
    if (left) port.resume();
    left = false;
    port.online();
  };
  /** @type {Record<string, () => void>} */
  const listeners = {
    online: port.online,
    offline: port.offline,
    // A page with an open connection is kept out of the back/forward cache.
    pagehide: leave,
    pageshow: comeBack,
    visibilitychange() {
      if (document.hidden) hidden(leave, HIDDEN_TIMEOUT);
      else comeBack();
    },
  };
  for (const event in listeners) addEventListener(event, listeners[event], { signal });
  port.resume();
  return live;
};

/**
 * Returns the port of the shared worker, or undefined if there cannot be one.
 * @param {string} name
 * @param {string | URL | undefined} script on the page's own origin
 * @param {() => void} failed the script does not load
 */
function openWorker(name, script, failed) {
  try {
    const worker = script
      ? new SharedWorker(script, { type: "module", name })
      : new SharedWorker(new URL("./shelfcast-worker.js", import.meta.url), { type: "module", name /* @vite-ignore */ });
    worker.onerror = failed;
    return worker.port;
  } catch {
    // The browser has none or forbids it, or the script is of another origin.
  }
}

// <live-product product="42" view="card"> fills itself: it holds an element that shows
// no version yet.
try {
  customElements.define("live-product", class extends HTMLElement {
    static observedAttributes = ["product", "view"];

    attributeChangedCallback() {
      const productId = attribute(this, "product");
      const view = attribute(this, "view") || "card";
      const [child] = this.children;
      if (attribute(child, "data-product-id") === productId && attribute(child, "data-view") === view) return;
      const place = document.createElement("div");
      Object.assign(place.dataset, { productId, view });
      this.replaceChildren(place);
    }
  });
} catch {
  // Already defined, or there is no page: in a worker, or on a server.
}

const tag = [...(globalThis.document?.querySelectorAll(/** @type {"script"} */ ("script[data-endpoint]")) ?? [])].find((s) => s.src === import.meta.url);

/**
 * The connection of this script's own tag, if the tag has data-endpoint: the server's
 * origin, or "" for the script's.
 * @type {import("./index.d.ts").Connection | undefined}
 */
export const live = tag && connect({ .../** @type {{}} */ (tag.dataset), endpoint: tag.dataset.endpoint || tag.src });
