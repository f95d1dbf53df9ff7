// The list of the products of a search, page by page, kept up to date.

import { isAbort, Problem } from "./admin-api.js";
import { createElement, find, setText } from "./admin-dom.js";
import { labelOf } from "./admin-fields.js";
import { Row } from "./admin-row.js";
import { formatSearch } from "./admin-search.js";

/**
 * @typedef {import("./admin-api.js").Product} Product
 * @typedef {import("./admin-api.js").Rev} Rev
 * @typedef {import("./admin-search.js").Search} Search
 */

const PAGE_SIZE = 50;
/** Products that are reloaded at a time. */
const MAX_RELOADS = 4;
/** Changes that are remembered, for pages of the list that were requested before the change. */
const MAX_REMEMBERED = 5000;
/** The mean delay before products that could not be loaded are tried again, in milliseconds. */
const RETRY_DELAY = 3000;
/** Changes within this are reported together, in milliseconds. */
const NEWS_DELAY = 400;

export class ProductList {
  /** @type {Map<number, Row>} */
  rows = new Map();
  /** @type {Search | undefined} the search that the list shows */
  search;
  #element = find("#products");
  #more = /** @type {HTMLButtonElement} */ (find("#more"));
  /** @type {string | undefined} */
  #next;
  #loading = new AbortController();
  /** @type {Map<number, number>} product → newest known version */
  #newest = new Map();
  /** @type {Set<Element>} the rows on the screen */
  #visible = new Set();
  #reloading = false;
  /** @type {string[]} */
  #news = [];

  /**
   * @param {Omit<import("./admin-row.js").Context, "moveFocus">} context
   * @param {() => void} onVisibleChange other products are on the screen
   */
  constructor(context, onVisibleChange) {
    this.context = { ...context, moveFocus: this.#moveFocus.bind(this) };
    this.observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#visible[isIntersecting ? "add" : "delete"](target);
      onVisibleChange();
      void this.reloadStale();
    });
    this.#more.addEventListener("click", (event) => this.#attempt(() => this.#append(event.detail === 0)));
  }

  /** The rows with unsaved changes. */
  get unsaved() {
    return [...this.rows.values()].filter((row) => row.unsaved);
  }

  /** The rows on the screen. */
  get onScreen() {
    return [...this.rows.values()].filter((row) => this.#visible.has(row.element));
  }

  /**
   * Shows the products of a search. Of several searches the last one is shown,
   * whichever response arrives last. Rows with unsaved changes stay in the list.
   * @param {Search} search
   */
  async load(search) {
    this.#loading.abort();
    const { signal } = (this.#loading = new AbortController());
    this.#element.setAttribute("aria-busy", "true");
    try {
      const page = await this.#loadPage(search, "", signal);
      this.search = search;
      const kept = this.unsaved;
      const before = this.rows;
      this.rows = new Map();
      for (const row of kept) this.rows.set(row.id, row);
      const found = page.products.map((p) => this.#row(p, before));
      const others = kept.filter((row) => !found.includes(row));
      for (const row of before.values()) if (!found.includes(row) && !kept.includes(row)) this.#release(row);
      this.#element.replaceChildren(...[...others, ...found].map((row) => row.element));
      this.#onLoad(page.next);
    } finally {
      if (!signal.aborted) this.#element.removeAttribute("aria-busy");
    }
  }

  /** @param {boolean} keyboard moves the focus to the first new row */
  async #append(keyboard) {
    const { search } = this;
    if (!search || !this.#next) return;
    this.#more.disabled = true;
    try {
      const page = await this.#loadPage(search, this.#next, this.#loading.signal);
      if (this.search !== search) return; // another search is shown by now
      const rows = page.products.map((p) => this.#row(p, this.rows));
      this.#element.append(...rows.map((row) => row.element));
      this.#onLoad(page.next);
      if (keyboard) rows[0]?.view.inputs.title.focus();
    } finally {
      this.#more.disabled = false;
    }
  }

  /**
   * @param {Search} search
   * @param {string} cursor
   * @param {AbortSignal} signal
   * @returns {Promise<{products: Product[], next?: string}>}
   */
  async #loadPage(search, cursor, signal) {
    const query = new URLSearchParams(formatSearch(search));
    query.set("limit", String(PAGE_SIZE));
    if (cursor) query.set("cursor", cursor);
    const page = await this.context.api.get(`/products?${query}`, signal);
    signal.throwIfAborted(); // the response arrived although the call was aborted
    return page;
  }

  /**
   * Returns the row of a product, a known one or a new one.
   * @param {Product} p
   * @param {Map<number, Row>} known
   */
  #row(p, known) {
    let row = known.get(p.id);
    if (row) {
      row.update(p);
    } else {
      row = new Row(p, this.context);
      this.observer.observe(row.element);
    }
    row.newest = Math.max(row.newest, this.#newest.get(p.id) ?? 0);
    this.rows.set(p.id, row);
    return row;
  }

  /** @param {Row} row */
  #release(row) {
    this.observer.unobserve(row.element);
    this.#visible.delete(row.element);
  }

  /** @param {string} [next] */
  #onLoad(next) {
    this.#next = next;
    this.#more.hidden = !next;
    const { format } = this.context;
    const shown = format.count(this.rows.size, "product");
    setText(find("#count"), this.rows.size > 0 ? next ? `Showing the first ${shown}` : shown : this.search?.q ? `Nothing found for “${this.search.q}”` : "No products found");
    const vendors = new Set([...this.rows.values()].map((row) => row.draft.product.vendor).filter(Boolean));
    find("#vendors").replaceChildren(...[...vendors].sort().map((vendor) => {
      const option = createElement("option", "");
      option.value = vendor;
      return option;
    }));
    this.context.onEdit();
    void this.reloadStale();
  }

  /** @param {Product} p a product that was just created */
  add(p) {
    const row = this.#row(p, this.rows);
    this.#element.prepend(row.element);
    this.#onLoad(this.#next);
    row.view.inputs.title.focus();
  }

  /** Removes all products from the page. */
  clear() {
    this.#loading.abort();
    for (const row of this.rows.values()) this.#release(row);
    this.rows.clear();
    this.search = undefined;
    this.#element.replaceChildren();
    this.#onLoad();
    setText(find("#count"), "");
  }

  /** Renders all rows again, after the person's rights have changed. */
  render() {
    for (const row of this.rows.values()) row.render();
  }

  /**
   * Records that these versions exist.
   * @param {Rev[]} revs
   */
  observe(revs) {
    for (const { id, version } of revs) {
      const newest = Math.max(version, this.#newest.get(id) ?? 0);
      this.#newest.delete(id); // so that it becomes the last entry
      this.#newest.set(id, newest);
      const row = this.rows.get(id);
      if (row) row.newest = Math.max(row.newest, newest);
    }
    for (const id of this.#newest.keys()) {
      if (this.#newest.size <= MAX_REMEMBERED) break;
      this.#newest.delete(id);
    }
    void this.reloadStale();
  }

  /** Reloads every product: changes may have been missed. */
  markAllStale() {
    for (const row of this.rows.values()) row.newest = Math.max(row.newest, row.draft.product.version + 1);
    void this.reloadStale();
  }

  /** Reloads the stale products on the screen. The others follow when they get there. */
  async reloadStale() {
    if (this.#reloading || document.hidden) return;
    this.#reloading = true;
    try {
      for (;;) {
        const rows = this.onScreen.filter((row) => row.stale).slice(0, MAX_RELOADS);
        if (rows.length === 0) return;
        const requested = rows.map((row) => row.newest);
        const changed = await Promise.all(rows.map((row) => row.refresh()));
        rows.forEach((row, i) => this.#onReload(row, requested[i], changed[i]));
        if (rows.some((row) => row.stale)) await new Promise((resume) => setTimeout(resume, RETRY_DELAY * (0.5 + Math.random())));
      }
    } finally {
      this.#reloading = false;
    }
  }

  /**
   * @param {Row} row
   * @param {number} requested the newest version when it was requested
   * @param {string[]} [changed] the changed fields; undefined if loading failed
   */
  #onReload(row, requested, changed) {
    if (!changed) return;
    const p = row.draft.product;
    if (row.newest === requested) row.newest = p.version; // after markAllStale: it was current
    if (changed.length === 0) return;
    /** @type {Record<string, unknown>} */
    const values = { ...p };
    const list = changed.map((name) => `${labelOf(name)} ${this.context.format.value(name, values[name], p.currency).slice(0, 80)}`).join(", ");
    this.#news.push(`“${p.title}” was changed: ${list}.${row.draft.conflict ? " What you typed is kept." : ""}`);
    if (this.#news.length > 1) return;
    setTimeout(() => {
      const news = this.#news.splice(0);
      this.context.notify(news.length === 1 ? news[0] : `${news.length} products were changed.`);
    }, NEWS_DELAY);
  }

  /**
   * @param {Row} row
   * @param {string} name
   * @param {1 | -1} step
   */
  #moveFocus(row, name, step) {
    const sibling = step === 1 ? row.element.nextElementSibling : row.element.previousElementSibling;
    const next = [...this.rows.values()].find(({ element }) => element === sibling);
    const input = next?.view.inputs[name];
    if (input?.closest(".details")) next?.view.showDetails(true);
    input?.focus();
    if (input instanceof HTMLInputElement && input.type !== "checkbox") input.select();
  }

  /** @param {() => Promise<void>} action */
  async #attempt(action) {
    try {
      await action();
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      this.context.notify(error.message);
    }
  }
}
