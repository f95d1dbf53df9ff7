// The page: which elements show a product, which of them are on or near the screen,
// and how they are brought up to date. The page is the only state there is.

import { speaker } from "./speaker.js";
import { MAX_PRODUCTS, warn } from "./wire.js";

/** @typedef {import("./wire.js").Fragment} Fragment */

/**
 * Its surroundings, so that a test can be them.
 * @typedef {object} Env
 * @property {typeof IntersectionObserver} [IntersectionObserver] without it all is near
 * @property {typeof MutationObserver} [MutationObserver] without it, what comes later is not found
 * @property {(f: () => void, ms: number) => any} later
 * @property {(element: Element, fresh: Element) => void} morph
 * @property {(element: Element) => void} [updated]
 * @property {AbortSignal} [signal] the end
 */

/**
 * An element that shows a product.
 * @typedef {object} Place
 * @property {number} id
 * @property {string} view
 * @property {boolean} near the screen
 * @property {boolean} [lingers] it was near a moment ago
 * @property {number} told the version that it is watched with
 * @property {number} refused the version that the page did not want, and that is asked for no more
 * @property {() => undefined} [stop] it is watched
 */

/** What comes to be on the page, or on the screen, within this is one look. */
const GATHER = 50;
/** What leaves the screen and is back within this has not left. */
const LINGER = 10_000;

/**
 * @param {any} e
 * @param {string} name
 */
const get = (e, name) => e.getAttribute(`data-${name}`);

/** @param {Element} e */
const versionOf = (e) => Number(get(e, "product-version")) || 0;

/**
 * Watches what is on or near the screen, from now on.
 * @param {ParentNode & Node} root
 * @param {(shown: import("./wire.js").Shown, take: (fragment: Fragment) => boolean) => () => undefined} watch
 * @param {Env} env
 */
export function page(root, watch, { IntersectionObserver, MutationObserver, later, morph, updated, signal }) {
  const doc = root.ownerDocument ?? /** @type {Document} */ (root);
  const listen = speaker(doc, later);
  /** @type {Map<Element, Place>} */
  const places = new Map();
  /** @type {Element | null} where an input method is composing, which nothing may interrupt */
  let composing = null;
  /** @type {(() => void)[]} */
  let waiting = [];
  let looks = false;
  let warned = false;

  const soon = () => {
    if (!looks) later(look, GATHER);
    looks = true;
  };
  const near = IntersectionObserver && new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const place = places.get(target);
      if (!place) continue;
      place.lingers = place.near && !isIntersecting;
      place.near = isIntersecting;
      if (place.lingers) {
        later(() => {
          place.lingers = false;
          soon();
        }, LINGER);
      }
    }
    soon();
  }, { rootMargin: "100%" });
  const added = MutationObserver && new MutationObserver(soon);

  /** @param {Element} element */
  const shown = (element) => Math.max(versionOf(element), places.get(element)?.refused ?? 0);

  // Sees what is there, and watches what is near.
  function look() {
    looks = false;
    if (signal?.aborted) return;
    const there = new Set(root.querySelectorAll("[data-product-id][data-view]"));
    for (const [element, { stop }] of places) {
      if (there.has(element)) continue;
      near?.unobserve(element);
      places.delete(element);
      stop?.();
    }
    for (const element of there) {
      const id = Number(get(element, "product-id"));
      const view = get(element, "view");
      const had = places.get(element);
      if (!had) near?.observe(element);
      // The page may make something else of it, or something older.
      if (had?.id === id && had.view === view && had.told <= shown(element)) continue;
      had?.stop?.();
      places.set(element, { id, view, near: had?.near ?? !near, told: 0, refused: 0 });
    }
    let wanted = [...places.keys()].filter((e) => {
      const { id, near, lingers } = /** @type {Place} */ (places.get(e));
      return (near || lingers) && id > 0 && Number.isSafeInteger(id);
    });
    if (wanted.length > MAX_PRODUCTS) {
      if (!warned) warn(`of ${wanted.length} products the nearest ${MAX_PRODUCTS} are kept up to date`);
      warned = true;
      const far = new Map(wanted.map((e) => [e, Math.abs(e.getBoundingClientRect().top)]));
      wanted = wanted.sort((a, b) => /** @type {number} */ (far.get(a)) - /** @type {number} */ (far.get(b))).slice(0, MAX_PRODUCTS);
    }
    const watched = new Set(wanted);
    for (const [element, place] of places) {
      const { id, view, stop } = place;
      if (!watched.has(element)) place.stop = stop?.();
      else if (!stop) place.stop = watch({ id, view, version: (place.told = shown(element)) }, (fragment) => take(element, place, fragment));
    }
  }

  /**
   * Makes the element what the fragment says, unless the page says no.
   * @param {Element} element
   * @param {Place} place
   * @param {Fragment} fragment
   * @returns {boolean} whether that was done
   */
  function take(element, place, fragment) {
    const { id, view, version, html, reset } = fragment;
    if (composing && element.contains(composing)) {
      waiting.push(() => take(element, place, fragment));
      return false;
    }
    if (!reset && version <= shown(element)) return false;
    const holder = doc.createElement("template");
    holder.innerHTML = html;
    const fresh = holder.content.firstElementChild;
    const detail = { id, view, version, previous: versionOf(element) };
    const tell = (/** @type {Element} */ to, /** @type {string} */ name, more = {}) =>
      to.dispatchEvent(new CustomEvent(`shelfcast:${name}`, { bubbles: true, cancelable: true, detail: { ...detail, ...more } }));
    place.told = place.refused = version;
    if (!fresh || Number(get(fresh, "product-id")) !== id) {
      warn(`the fragment of product ${id} is not of that product`);
      return false;
    }
    if (!tell(element, "before-update", { fresh })) return false;
    const say = listen(element, `${view} ${id} `);
    morph(element, fresh);
    const now = element.isConnected ? element : fresh;
    place.refused = 0;
    say(now);
    updated?.(now);
    tell(now, "updated");
    return true;
  }

  root.addEventListener("compositionstart", (event) => {
    composing = /** @type {Element} */ (event.target);
  }, { signal });
  root.addEventListener("compositionend", () => {
    composing = null;
    for (const take of waiting.splice(0)) take();
  }, { signal });
  added?.observe(root, { childList: true, subtree: true, attributeFilter: ["data-product-id", "data-product-version", "data-view"] });
  signal?.addEventListener("abort", () => {
    near?.disconnect();
    added?.disconnect();
    for (const { stop } of places.values()) stop?.();
  });
  look();
}
