// Finds the elements of the page that show a product, subscribes to those on or near
// the screen, and updates them. The elements' attributes are the only state.

import { createAnnouncer } from "./announcer.js";
import { attribute, emit } from "./dom.js";
import { MAX_PRODUCTS, OFF_SCREEN_DELAY, SCAN_DELAY } from "./limits.js";
import { warn } from "./protocol.js";

/** @typedef {import("./protocol.js").Fragment} Fragment */

/**
 * The globals that are used. Tests replace them.
 * @typedef {object} Env
 * @property {typeof IntersectionObserver} [IntersectionObserver] if missing, all elements count as near the screen
 * @property {typeof MutationObserver} [MutationObserver] if missing, elements that are added later are not found
 * @property {(f: () => void, ms: number) => any} setTimeout
 */

/**
 * An element that shows a product.
 * @typedef {object} Place
 * @property {Element} element
 * @property {number} id
 * @property {string} view
 * @property {boolean} [visible] it is on or near the screen
 * @property {boolean} [near] it is, or was a moment ago
 * @property {number} version of the subscription: the version that is shown, or one that the page refused
 * @property {number} previous the version in the element's attribute after our last update
 * @property {() => void} [stop] ends the subscription, if there is one
 */

/** @param {Element} e */
const versionOf = (e) => +attribute(e, "data-product-version") || 0;

/**
 * Keeps the products below root up to date until signal is aborted.
 * @param {ParentNode & Node} root
 * @param {Pick<import("./index.d.ts").Connection, "watch" | "morph">} live
 * @param {(element: Element) => void} onUpdate
 * @param {AbortSignal} signal
 * @param {Env} env
 */
export const watchPage = (root, live, onUpdate, signal, { IntersectionObserver, MutationObserver, setTimeout }) => {
  const doc = root.ownerDocument ?? /** @type {Document} */ (root);
  const announcer = createAnnouncer(doc, setTimeout);
  /** @type {Map<Element, Place>} */
  const places = new Map();
  /** @type {Element | undefined} where an input method composes, which an update would interrupt */
  let composing;
  let scheduled = false;
  let warned = false;

  const scheduleScan = () => {
    if (!scheduled) setTimeout(scan, SCAN_DELAY);
    scheduled = true;
  };
  const intersections = IntersectionObserver && new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const place = places.get(target);
      if (!place) continue;
      place.visible = isIntersecting;
      setTimeout(() => {
        place.near = place.visible;
        scheduleScan();
      }, isIntersecting ? 0 : OFF_SCREEN_DELAY);
    }
  }, { rootMargin: "100%" });
  const mutations = MutationObserver && new MutationObserver(scheduleScan);

  // Updates places and subscriptions to what is on the page now.
  function scan() {
    scheduled = false;
    const found = new Set(signal.aborted ? [] : root.querySelectorAll("[data-product-id][data-view]"));
    for (const [element, { stop }] of places) {
      if (found.has(element)) continue;
      intersections?.unobserve(element);
      places.delete(element);
      stop?.();
    }
    for (const element of found) {
      const id = +attribute(element, "data-product-id");
      const view = attribute(element, "data-view");
      const version = versionOf(element);
      const known = places.get(element);
      intersections?.observe(element);
      // The page's own script may have put another product there, or an older version.
      if (known?.id === id && known.view === view && known.previous === version) continue;
      places.set(element, Object.assign(known ?? { near: !intersections }, { element, id, view, version, previous: version, stop: void known?.stop?.() }));
    }
    const wanted = [...places.values()].filter(({ id, near }) => near && id > 0 && Number.isSafeInteger(id));
    if (wanted.length > MAX_PRODUCTS) {
      warned ||= warn(`only ${MAX_PRODUCTS} products are watched`);
      const distance = (/** @type {Place} */ { element }) => Math.abs(element.getBoundingClientRect().top);
      wanted.sort((a, b) => distance(a) - distance(b)).splice(MAX_PRODUCTS);
    }
    const watched = new Set(wanted);
    for (const place of places.values()) {
      if (!watched.has(place)) place.stop = void place.stop?.();
      else place.stop ??= live.watch(place, (fragment) => update(place, fragment));
    }
  }

  /**
   * Updates the place, unless the page refuses.
   * @param {Place} place
   * @param {Fragment} fragment
   * @returns {boolean} whether the fragment is shown now
   */
  function update(place, fragment) {
    const { element } = place;
    const { id, view, version, html, reset } = fragment;
    if (composing && element.contains(composing)) {
      place.previous = -1; // so that the next scan subscribes again
      return false;
    }
    const previous = versionOf(element);
    if (!reset && version <= previous) return false;
    const template = doc.createElement("template");
    template.innerHTML = html;
    const fresh = template.content.firstElementChild;
    const detail = { id, view, version, previous };
    place.version = version;
    if (!fresh || +attribute(fresh, "data-product-id") !== id) return !warn(`not a fragment of ${id}`);
    if (!emit(element, "before-update", { ...detail, fresh })) return false;
    const announce = announcer(element, id);
    live.morph(element, fresh);
    const updated = element.isConnected ? element : fresh;
    place.previous = versionOf(updated);
    if (updated !== element) {
      // The subscription moves to the new element.
      places.delete(element);
      places.set((place.element = updated), place);
    }
    announce(updated);
    onUpdate(updated);
    emit(updated, "updated", detail);
    return true;
  }

  root.addEventListener("compositionstart", (event) => {
    composing = /** @type {Element} */ (event.target);
  }, { signal });
  root.addEventListener("compositionend", () => {
    composing = undefined;
    scan();
  }, { signal });
  mutations?.observe(root, { childList: true, subtree: true, attributeFilter: ["data-product-id", "data-product-version", "data-view"] });
  signal.onabort = () => {
    mutations?.disconnect();
    scan();
  };
  scan();
};
