// The page: which elements show a product, which of them are on or near the screen,
// and how they are brought up to date. The page is the only state there is.

import { LOOK, MAX_PRODUCTS, OFF_SCREEN } from "./limits.js";
import { speaker } from "./speaker.js";
import { emit, get, warn } from "./wire.js";

/** @typedef {import("./wire.js").Fragment} Fragment */

/**
 * What is used of the global scope. A test gives its own.
 * @typedef {object} Env
 * @property {typeof IntersectionObserver} [IntersectionObserver] without it all is near
 * @property {typeof MutationObserver} [MutationObserver] without it, what comes later is not found
 * @property {(f: () => void, ms: number) => any} setTimeout
 */

/**
 * An element that shows a product.
 * @typedef {object} Place
 * @property {Element} element
 * @property {number} id
 * @property {string} view
 * @property {boolean} [seen] it is on or near the screen
 * @property {boolean} [near] so it was a moment ago, or is
 * @property {number} version that it is watched with: what it shows, or what the page did not want, and is asked for no more
 * @property {number} marked the version that its attribute said when we last left it
 * @property {() => void} [stop] it is watched
 */

/** @param {Element} e */
const versionOf = (e) => Number(get(e, "data-product-version")) || 0;

/**
 * Watches what is on or near the screen, from now on.
 * @param {ParentNode & Node} root
 * @param {Pick<import("./index.d.ts").Connection, "watch" | "morph">} live
 * @param {(element: Element) => void} updated
 * @param {AbortSignal} signal the end
 * @param {Env} env
 */
export const page = (root, live, updated, signal, { IntersectionObserver, MutationObserver, setTimeout }) => {
  const doc = root.ownerDocument ?? /** @type {Document} */ (root);
  const listen = speaker(doc, setTimeout);
  /** @type {Map<Element, Place>} */
  const places = new Map();
  /** @type {Element | null} where an input method is composing, which nothing may interrupt */
  let composing = null;
  let looks = false;
  let warned = false;

  const soon = () => {
    if (!looks) setTimeout(look, LOOK);
    looks = true;
  };
  const near = IntersectionObserver && new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const place = places.get(target);
      if (!place) continue;
      place.seen = isIntersecting;
      setTimeout(() => {
        place.near = place.seen;
        soon();
      }, isIntersecting ? 0 : OFF_SCREEN);
    }
  }, { rootMargin: "100%" });
  const added = MutationObserver && new MutationObserver(soon);

  // Sees what is there, and watches what is near.
  function look() {
    looks = false;
    const there = new Set(signal.aborted ? [] : root.querySelectorAll("[data-product-id][data-view]"));
    for (const [element, { stop }] of places) {
      if (there.has(element)) continue;
      near?.unobserve(element);
      places.delete(element);
      stop?.();
    }
    for (const element of there) {
      const id = Number(get(element, "data-product-id"));
      const view = get(element, "data-view");
      const version = versionOf(element);
      const had = places.get(element);
      near?.observe(element);
      // The page may make something else of it, or something older.
      if (had?.id === id && had.view === view && had.marked === version) continue;
      places.set(element, Object.assign(had ?? { near: !near }, { element, id, view, version, marked: version, stop: void had?.stop?.() }));
    }
    const wanted = [...places.values()].filter(({ id, near }) => near && id > 0 && Number.isSafeInteger(id));
    if (wanted.length > MAX_PRODUCTS) {
      warned ||= warn(`only ${MAX_PRODUCTS} products are watched`);
      const far = (/** @type {Place} */ { element }) => Math.abs(element.getBoundingClientRect().top);
      wanted.sort((a, b) => far(a) - far(b)).splice(MAX_PRODUCTS);
    }
    const watched = new Set(wanted);
    for (const place of places.values()) {
      if (!watched.has(place)) place.stop = void place.stop?.();
      else place.stop ??= live.watch(place, (fragment) => take(place, fragment));
    }
  }

  /**
   * Makes the element what the fragment says, unless the page says no.
   * @param {Place} place
   * @param {Fragment} fragment
   * @returns {boolean} whether that was done
   */
  function take(place, fragment) {
    const { element } = place;
    const { id, view, version, html, reset } = fragment;
    if (composing && element.contains(composing)) {
      place.marked = -1; // it will be asked for anew
      return false;
    }
    const previous = versionOf(element);
    if (!reset && version <= previous) return false;
    const holder = doc.createElement("template");
    holder.innerHTML = html;
    const fresh = holder.content.firstElementChild;
    const detail = { id, view, version, previous };
    place.version = version;
    if (!fresh || Number(get(fresh, "data-product-id")) !== id) return !warn(`not the fragment of ${id}`);
    if (!emit(element, "before-update", { ...detail, fresh })) return false;
    const say = listen(element, id);
    live.morph(element, fresh);
    const now = element.isConnected ? element : fresh;
    place.marked = versionOf(now);
    if (now !== element) {
      // It is watched still, for where it is: nobody need hear of it.
      places.delete(element);
      places.set((place.element = now), place);
    }
    say(now);
    updated(now);
    emit(now, "updated", detail);
    return true;
  }

  root.addEventListener("compositionstart", (event) => {
    composing = /** @type {Element} */ (event.target);
  }, { signal });
  root.addEventListener("compositionend", () => {
    composing = null;
    look();
  }, { signal });
  added?.observe(root, { childList: true, subtree: true, attributeFilter: ["data-product-id", "data-product-version", "data-view"] });
  signal.onabort = () => {
    added?.disconnect();
    look();
  };
  look();
};
