// The list of products: what is searched for, page by page, kept up to date.

import { aborted, Problem } from "./admin-api.js";
import { make, say, the } from "./admin-dom.js";
import { Row } from "./admin-row.js";
import { queryOf } from "./admin-search.js";
import { LABELS } from "./admin-words.js";

/**
 * @typedef {import("./admin-api.js").Product} Product
 * @typedef {import("./admin-api.js").Rev} Rev
 * @typedef {import("./admin-search.js").Search} Search
 */

const LIMIT = 50;
/** Products that are fetched anew at a time. */
const AT_A_TIME = 4;
/** So many that were heard of are remembered, for pages of the list that were read before. */
const REMEMBERED = 5000;
/** After a product could not be fetched. */
const PAUSE = 3000;
/** What changes within it is told together. */
const TOGETHER = 400;

export class List {
  /** @type {Map<number, Row>} */
  rows = new Map();
  /** @type {Search | undefined} what the list shows */
  search;
  #element = the("#products");
  #more = /** @type {HTMLButtonElement} */ (the("#more"));
  /** @type {string | undefined} */
  #next;
  #reading = new AbortController();
  /** @type {Map<number, number>} product → newest version heard of */
  #heard = new Map();
  /** @type {Set<Element>} */
  #seen = new Set();
  #fetching = false;
  /** @type {string[]} */
  #news = [];

  /**
   * @param {Omit<import("./admin-row.js").Desk, "step">} desk
   * @param {() => void} appeared other products are on the screen
   */
  constructor(desk, appeared) {
    this.desk = { ...desk, step: this.#step.bind(this) };
    this.watcher = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) this.#seen[isIntersecting ? "add" : "delete"](target);
      appeared();
      void this.catchUp();
    });
    this.#more.addEventListener("click", (event) => this.#guard(() => this.#append(event.detail === 0)));
  }

  /** The rows with something in them that is not saved. */
  get unsaved() {
    return [...this.rows.values()].filter((row) => row.unsaved);
  }

  /** The rows on the screen. */
  get onScreen() {
    return [...this.rows.values()].filter((row) => this.#seen.has(row.element));
  }

  /**
   * Shows what a search finds. Of several searches the last one is shown,
   * whichever answer comes last. What is not saved stays in the list.
   * @param {Search} search
   */
  async load(search) {
    this.#reading.abort();
    const { signal } = (this.#reading = new AbortController());
    this.#element.setAttribute("aria-busy", "true");
    try {
      const page = await this.#page(search, "", signal);
      this.search = search;
      const kept = this.unsaved;
      const before = this.rows;
      this.rows = new Map();
      for (const row of kept) this.rows.set(row.id, row);
      const found = page.products.map((p) => this.#row(p, before));
      const others = kept.filter((row) => !found.includes(row));
      for (const row of before.values()) if (!found.includes(row) && !kept.includes(row)) this.#forget(row);
      this.#element.replaceChildren(...[...others, ...found].map((row) => row.element));
      this.#shown(page.next);
    } finally {
      if (!signal.aborted) this.#element.removeAttribute("aria-busy");
    }
  }

  /** @param {boolean} keyboard whoever asks goes on from the first that comes */
  async #append(keyboard) {
    const { search } = this;
    if (!search || !this.#next) return;
    this.#more.disabled = true;
    try {
      const page = await this.#page(search, this.#next, this.#reading.signal);
      if (this.search !== search) return; // another one is shown by now
      const rows = page.products.map((p) => this.#row(p, this.rows));
      this.#element.append(...rows.map((row) => row.element));
      this.#shown(page.next);
      if (keyboard) rows[0]?.face.fields.title.focus();
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
  async #page(search, cursor, signal) {
    const query = new URLSearchParams(queryOf(search));
    query.set("limit", String(LIMIT));
    if (cursor) query.set("cursor", cursor);
    const page = await this.desk.api.get(`/products?${query}`, signal);
    signal.throwIfAborted(); // it came after all, and nobody waits for it
    return page;
  }

  /**
   * The row of a product, as it is or as it was heard to be.
   * @param {Product} p
   * @param {Map<number, Row>} known
   */
  #row(p, known) {
    let row = known.get(p.id);
    if (row) {
      row.take(p);
    } else {
      row = new Row(p, this.desk);
      this.watcher.observe(row.element);
    }
    row.heard = Math.max(row.heard, this.#heard.get(p.id) ?? 0);
    this.rows.set(p.id, row);
    return row;
  }

  /** @param {Row} row */
  #forget(row) {
    this.watcher.unobserve(row.element);
    this.#seen.delete(row.element);
  }

  /** @param {string} [next] */
  #shown(next) {
    this.#next = next;
    this.#more.hidden = !next;
    const { words } = this.desk;
    const shown = words.count(this.rows.size, "product");
    say(the("#count"), this.rows.size === 0 ? "No product is like that." : next ? `The first ${shown}` : shown);
    const vendors = new Set([...this.rows.values()].map((row) => row.draft.product.vendor).filter(Boolean));
    the("#vendors").replaceChildren(...[...vendors].sort().map((vendor) => {
      const option = make("option", "");
      option.value = vendor;
      return option;
    }));
    this.desk.touched();
    void this.catchUp();
  }

  /** @param {Product} p a new one */
  add(p) {
    const row = this.#row(p, this.rows);
    this.#element.prepend(row.element);
    this.#shown(this.#next);
    row.face.fields.title.focus();
  }

  /** Takes everything out of the page. */
  clear() {
    this.#reading.abort();
    for (const row of this.rows.values()) this.#forget(row);
    this.rows.clear();
    this.search = undefined;
    this.#element.replaceChildren();
    this.#shown();
    say(the("#count"), "");
  }

  /** The rights of the person have changed. */
  repaint() {
    for (const row of this.rows.values()) row.paint();
  }

  /**
   * These products have these versions now.
   * @param {Rev[]} revs
   */
  hear(revs) {
    for (const { id, version } of revs) {
      const newest = Math.max(version, this.#heard.get(id) ?? 0);
      this.#heard.delete(id); // so that those heard of last are the last
      this.#heard.set(id, newest);
      const row = this.rows.get(id);
      if (row) row.heard = Math.max(row.heard, newest);
    }
    for (const id of this.#heard.keys()) {
      if (this.#heard.size <= REMEMBERED) break;
      this.#heard.delete(id);
    }
    void this.catchUp();
  }

  /** Anything may have changed. */
  doubt() {
    for (const row of this.rows.values()) row.heard = Math.max(row.heard, row.draft.product.version + 1);
    void this.catchUp();
  }

  /** Fetches anew what is behind: what is on the screen, and the rest when it gets there. */
  async catchUp() {
    if (this.#fetching || document.hidden) return;
    this.#fetching = true;
    try {
      for (;;) {
        const rows = this.onScreen.filter((row) => row.behind).slice(0, AT_A_TIME);
        if (rows.length === 0) return;
        const asked = rows.map((row) => row.heard);
        const changed = await Promise.all(rows.map((row) => row.refresh()));
        rows.forEach((row, i) => this.#caughtUp(row, asked[i], changed[i]));
        if (rows.some((row) => row.behind)) await new Promise((resume) => setTimeout(resume, PAUSE * (0.5 + Math.random())));
      }
    } finally {
      this.#fetching = false;
    }
  }

  /**
   * @param {Row} row
   * @param {number} asked the version that it was fetched for
   * @param {string[]} [changed] undefined: it did not come
   */
  #caughtUp(row, asked, changed) {
    if (!changed) return;
    const p = row.draft.product;
    if (row.heard === asked) row.heard = p.version; // doubt was unfounded
    if (changed.length === 0) return;
    /** @type {Record<string, unknown>} */
    const is = { ...p };
    const said = changed.map((name) => `${LABELS[name]} ${this.desk.words.value(name, is[name], p.currency).slice(0, 80)}`).join(", ");
    this.#news.push(`“${p.title}” has changed: ${said}.${row.draft.conflict ? " What you typed is kept." : ""}`);
    if (this.#news.length > 1) return;
    setTimeout(() => {
      const news = this.#news.splice(0);
      this.desk.notice(news.length === 1 ? news[0] : `${news.length} products have changed.`);
    }, TOGETHER);
  }

  /**
   * @param {Row} row
   * @param {string} name
   * @param {1 | -1} step
   */
  #step(row, name, step) {
    const sibling = step === 1 ? row.element.nextElementSibling : row.element.previousElementSibling;
    const next = [...this.rows.values()].find(({ element }) => element === sibling);
    const field = next?.face.fields[name];
    if (field?.closest(".rest")) next?.face.unfold(true);
    field?.focus();
    if (field instanceof HTMLInputElement && field.type !== "checkbox") field.select();
  }

  /** @param {() => Promise<void>} act */
  async #guard(act) {
    try {
      await act();
    } catch (error) {
      if (aborted(error)) return;
      if (!(error instanceof Problem)) throw error;
      this.desk.notice(error.message);
    }
  }
}
