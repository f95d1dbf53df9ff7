// Shelfcast's client: keeps the products on a page up to date. It has no
// dependencies and needs no build.
//
//   <script type="module" src="https://live.shop.example/assets/shelfcast.js" data-endpoint></script>
//
//   import { connect } from "shelfcast";
//   const live = connect({ endpoint: "https://live.shop.example" });
//   const stop = live.watch({ id: 42, view: "card" }, (fragment) => …);

import { AWAY, GLOW } from "./limits.js";
import { morph } from "./morph.js";
import { page } from "./page.js";
import { serve } from "./shelfcast-worker.js";
import { tab } from "./tab.js";
import { get, PROTOCOL } from "./wire.js";

/**
 * Watches every element that has data-product-id, data-product-version and
 * data-view, once it comes near the screen, and brings it up to date. The options
 * are described in index.d.ts.
 * @param {import("./index.d.ts").Options} [options]
 * @returns {import("./index.d.ts").Connection}
 */
export function connect(options = {}) {
  const { endpoint, mode = "full", worker, root = document, highlight, sample = 0.01, onStatus } = options;
  const name = [PROTOCOL, mode, new URL(endpoint || location.href, location.href).origin].join(" ");
  const end = new AbortController();
  const { signal } = end;
  /** @type {any} */
  let away;
  let left = false;

  const joined = tab({
    shared: (failed) => shared(name, worker, failed),
    own: (port) => serve(name)(port),
    locks: navigator.locks,
    tells: Math.random() < sample,
    via(via) {
      try {
        if (via) sessionStorage[name] = via;
        return Number(sessionStorage[name]) || 0;
      } catch {
        return 0; // storage is forbidden: it will be found out again
      }
    },
    status(status) {
      onStatus?.(status);
      root.dispatchEvent(new CustomEvent("shelfcast:status", { detail: status }));
    },
  });
  const live = Object.assign(joined, {
    morph: options.morph ?? morph,
    close() {
      end.abort();
      joined.pause();
    },
  });
  page(root, joined.watch, (element, fresh) => live.morph(element, fresh), (element) => {
    if ((highlight ?? false) === false || matchMedia("(prefers-reduced-motion:reduce)").matches) return;
    element.animate([{ backgroundColor: highlight === true || !highlight ? "#ffec9e" : highlight, offset: 0 }], GLOW);
  }, signal, globalThis);

  const leave = () => {
    left = true;
    joined.pause();
  };
  const back = () => {
    if (left) joined.resume();
    left = false;
  };
  /** @type {Record<string, () => void>} */
  const hear = {
    online: joined.hurry,
    offline: joined.lost,
    // A page with an open connection is not kept for the way back.
    pagehide: leave,
    pageshow: back,
    visibilitychange() {
      clearTimeout(away);
      if (document.hidden) away = setTimeout(leave, AWAY);
      else {
        back();
        joined.hurry();
      }
    },
  };
  for (const event in hear) addEventListener(event, hear[event], { signal });
  joined.resume();
  return live;
}

/**
 * @param {string} name
 * @param {string | URL | undefined} script on the page's own origin
 * @param {() => void} failed
 */
function shared(name, script, failed) {
  // Workers are of a page's own origin, or not at all.
  if (!globalThis.SharedWorker || (!script && new URL(import.meta.url).origin !== location.origin)) return undefined;
  try {
    const worker = script
      ? new SharedWorker(script, { type: "module", name })
      : new SharedWorker(new URL("./shelfcast-worker.js", import.meta.url), { type: "module", name /* @vite-ignore */ });
    worker.onerror = failed;
    return worker.port;
  } catch {
    return undefined; // forbidden here
  }
}

// A product that fills itself: <live-product product="42" view="card">. It has what
// any page watches, at no version yet.
if (globalThis.customElements && !customElements.get("live-product")) {
  customElements.define("live-product", class extends HTMLElement {
    static observedAttributes = ["product", "view"];

    connectedCallback() {
      const productId = get(this, "product");
      const view = get(this, "view") || "card";
      const place = document.createElement("div");
      const has = /** @type {HTMLElement} */ (this.firstElementChild ?? place).dataset;
      if (has.productId === productId && has.view === view) return;
      Object.assign(place.dataset, { productId, view });
      this.replaceChildren(place);
    }

    attributeChangedCallback() {
      if (this.isConnected) this.connectedCallback();
    }
  });
}

const tag = [...(globalThis.document?.scripts ?? [])].find((s) => s.src === import.meta.url && s.dataset.endpoint != null);

/**
 * The connection of the script's own tag, if that has data-endpoint: the tier's
 * origin, or nothing for the script's.
 * @type {import("./index.d.ts").Connection | undefined}
 */
export const live = tag && connect({ .../** @type {{}} */ (tag.dataset), endpoint: tag.dataset.endpoint || tag.src });
