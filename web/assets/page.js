// The page: which products it shows, at which version, and how it is brought up
// to date. The page is the only state there is.

import { replaceKeeping } from "./keep.js";

/**
 * One product in one view, at the version that the page shows; 0: none yet.
 * @typedef {{id: number, version: number, view: string}} Shown
 */

/**
 * @typedef {object} Fragment
 * @property {number} id
 * @property {number} version
 * @property {string} view
 * @property {string} html
 * @property {boolean} [reset] the version shown is one that the shop has lost: this older one is right
 */

const PRODUCTS = "[data-product-id][data-view]";

export class Page {
  /** @type {Element | null} where an input method is composing, which nothing may interrupt */
  #composing = null;
  /** @type {Fragment[]} */
  #waiting = [];

  /** @param {ParentNode & EventTarget} root */
  constructor(root) {
    this.root = root;
    root.addEventListener("compositionstart", (event) => {
      this.#composing = /** @type {Element} */ (event.target);
    });
    root.addEventListener("compositionend", () => {
      this.#composing = null;
      this.take(this.#waiting.splice(0));
    });
  }

  /**
   * What the page shows: each product once a view, and of several elements the
   * oldest version.
   * @returns {Shown[]}
   */
  shown() {
    /** @type {Map<string, Shown>} */
    const all = new Map();
    for (const element of this.root.querySelectorAll(PRODUCTS)) {
      const id = Number(element.getAttribute("data-product-id"));
      const view = element.getAttribute("data-view") ?? "";
      if (!Number.isSafeInteger(id) || id <= 0) continue;
      const key = `${view} ${id}`;
      const version = Math.min(versionOf(element), all.get(key)?.version ?? Infinity);
      all.set(key, { id, version, view });
    }
    return [...all.values()];
  }

  /**
   * Brings the elements of these fragments up to date.
   * @param {Fragment[]} fragments
   * @returns {Fragment[]} those that are in the page now, and were not before
   */
  take(fragments) {
    /** @type {Set<Fragment>} */
    const taken = new Set();
    for (const fragment of fragments) {
      for (const element of this.#elements(fragment)) {
        if (this.#composing && element.contains(this.#composing)) {
          this.#waiting.push(fragment);
        } else if (fragment.reset || fragment.version > versionOf(element)) {
          if (update(element, fragment)) taken.add(fragment);
        }
      }
    }
    return [...taken];
  }

  /** @param {Fragment} fragment */
  #elements({ id, view }) {
    return [...this.root.querySelectorAll(PRODUCTS)].filter(
      (e) => e.getAttribute("data-product-id") === String(id) && e.getAttribute("data-view") === view,
    );
  }
}

/**
 * @param {Element} element
 * @returns {number}
 */
function versionOf(element) {
  const version = Number(element.getAttribute("data-product-version"));
  return Number.isSafeInteger(version) && version > 0 ? version : 0;
}

/**
 * Replaces the element, unless the page says no.
 * @param {Element} element
 * @param {Fragment} fragment
 * @returns {boolean} whether it was replaced
 */
function update(element, fragment) {
  const holder = element.ownerDocument.createElement("template");
  holder.innerHTML = fragment.html;
  const fresh = holder.content.firstElementChild;
  if (!fresh || fresh.getAttribute("data-product-id") !== String(fragment.id)) {
    console.warn(`shelfcast: the fragment of product ${fragment.id} is not of that product`);
    return false;
  }
  const detail = { id: fragment.id, view: fragment.view, version: fragment.version, previous: versionOf(element) };
  const before = new CustomEvent("shelfcast:before-update", { bubbles: true, cancelable: true, detail });
  if (!element.dispatchEvent(before)) return false;
  replaceKeeping(element, fresh);
  fresh.dispatchEvent(new CustomEvent("shelfcast:updated", { bubbles: true, detail }));
  return true;
}
