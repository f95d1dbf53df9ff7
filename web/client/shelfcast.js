// Shelfcast's client: keeps the products on a page up to date. It has no
// dependencies and needs no build.
//
//   <script type="module" src="https://live.shop.example/assets/shelfcast.js" data-endpoint></script>
//
//   import { connect } from "shelfcast";
//   const live = connect({ endpoint: "https://live.shop.example" });
//   const stop = live.watch({ id: 42, view: "card" }, (fragment) => …);

import { AWAY, GLOW } from "./limits.js";
import { morph as gentle } from "./morph.js";
import { page } from "./page.js";
import "./shelfcast-worker.js";
import { tab } from "./tab.js";
import { tabs } from "./tabs.js";
import { timer } from "./timer.js";
import { emit, get, PROTOCOL } from "./wire.js";

/**
 * Watches every element that has data-product-id, data-product-version and
 * data-view, once it comes near the screen, and brings it up to date. The options
 * are described in index.d.ts.
 * @param {import("./index.d.ts").Options} [options]
 * @returns {import("./index.d.ts").Connection}
 */
export const connect = (options = {}) => {
  const { endpoint = "", mode = "full", worker, root = document, highlight = false, sample = 0.01, morph = gentle, onStatus } = options;
  const name = `${PROTOCOL} ${mode} ${new URL(endpoint, location.href).origin}`;
  const end = new AbortController();
  const { signal } = end;
  const away = timer(globalThis);
  let left = false;

  const joined = tab({
    shared: (failed) => shared(name, worker, failed),
    own: tabs(name, globalThis),
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
      emit(root, "status", status);
    },
  });
  const live = Object.assign(joined, {
    morph,
    close() {
      end.abort();
      joined.pause();
    },
  });
  page(root, live, (element) => {
    if (highlight === false || matchMedia("(prefers-reduced-motion:reduce)").matches) return;
    element.animate([{ backgroundColor: (highlight !== true && highlight) || "#ffec9e", offset: 0 }], GLOW);
  }, signal, globalThis);

  const leave = () => {
    left = true;
    joined.pause();
  };
  const back = () => {
    away();
    if (left) joined.resume();
    left = false;
    joined.hurry();
  };
  /** @type {Record<string, () => void>} */
  const hear = {
    online: joined.hurry,
    offline: joined.lost,
    // A page with an open connection is not kept for the way back.
    pagehide: leave,
    pageshow: back,
    visibilitychange() {
      if (document.hidden) away(leave, AWAY);
      else back();
    },
  };
  for (const event in hear) addEventListener(event, hear[event], { signal });
  joined.resume();
  return live;
};

/**
 * @param {string} name
 * @param {string | URL | undefined} script on the page's own origin
 * @param {() => void} failed
 */
function shared(name, script, failed) {
  try {
    const worker = script
      ? new SharedWorker(script, { type: "module", name })
      : new SharedWorker(new URL("./shelfcast-worker.js", import.meta.url), { type: "module", name /* @vite-ignore */ });
    worker.onerror = failed;
    return worker.port;
  } catch {
    return undefined; // not known here, forbidden, or of another origin
  }
}

// A product that fills itself: <live-product product="42" view="card">. It has what
// any page watches, at no version yet.
try {
  customElements.define("live-product", class extends HTMLElement {
    static observedAttributes = ["product", "view"];

    attributeChangedCallback() {
      const productId = get(this, "product");
      const view = get(this, "view") || "card";
      const [inside] = this.children;
      if (get(inside, "data-product-id") === productId && get(inside, "data-view") === view) return;
      const place = document.createElement("div");
      Object.assign(place.dataset, { productId, view });
      this.replaceChildren(place);
    }
  });
} catch {
  // There is one already, or this is no page.
}

const tag = [...(globalThis.document?.querySelectorAll(/** @type {"script"} */ ("script[data-endpoint]")) ?? [])].find((s) => s.src === import.meta.url);

/**
 * The connection of the script's own tag, if that has data-endpoint: the tier's
 * origin, or nothing for the script's.
 * @type {import("./index.d.ts").Connection | undefined}
 */
export const live = tag && connect({ .../** @type {{}} */ (tag.dataset), endpoint: tag.dataset.endpoint || tag.src });
