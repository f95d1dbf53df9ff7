// Who has changed what of a product.

import { aborted, Problem } from "./admin-api.js";
import { make, open, the } from "./admin-dom.js";
import { did, LABELS, whoever } from "./admin-words.js";

/**
 * @typedef {import("./admin-api.js").Entry} Entry
 * @typedef {import("./admin-api.js").Product} Product
 */

const LIMIT = 20;
/** Of a text, in an entry. */
const EXCERPT = 200;

export class History {
  #dialog = /** @type {HTMLDialogElement} */ (the("#history"));
  #older = /** @type {HTMLButtonElement} */ (the("[data-older]", this.#dialog));
  #reading = new AbortController();

  /**
   * @param {Pick<import("./admin-api.js").Api, "get">} api
   * @param {import("./admin-words.js").Words} words
   */
  constructor(api, words) {
    this.api = api;
    this.words = words;
  }

  /** @param {Product} product */
  show(product) {
    this.#reading = new AbortController();
    the("h2", this.#dialog).textContent = `History of “${product.title}”`;
    the(".entries", this.#dialog).replaceChildren();
    open(this.#dialog, () => this.#reading.abort());
    void this.#read(product, "");
  }

  /**
   * @param {Product} product
   * @param {string} cursor
   */
  async #read(product, cursor) {
    const problem = the(".problem", this.#dialog);
    problem.textContent = "";
    this.#older.hidden = true;
    try {
      const query = new URLSearchParams({ limit: String(LIMIT), ...(cursor && { cursor }) });
      const { entries, next } = await this.api.get(`/products/${product.id}/history?${query}`, this.#reading.signal);
      const list = the(".entries", this.#dialog);
      list.append(...entries.map((/** @type {Entry} */ entry) => this.#entry(entry, product.currency)));
      if (list.childElementCount === 0) problem.textContent = "Nobody has written anything down: it was made by a program that writes to the database itself.";
      this.#offer(product, next);
    } catch (error) {
      if (aborted(error)) return;
      if (!(error instanceof Problem)) throw error;
      problem.textContent = error.message;
      this.#offer(product, cursor, "Try again");
    }
  }

  /**
   * @param {Product} product
   * @param {string | undefined} cursor
   * @param {string} [text]
   */
  #offer(product, cursor, text = "Older") {
    this.#older.hidden = cursor === undefined;
    this.#older.textContent = text;
    this.#older.onclick = () => void this.#read(product, cursor ?? "");
  }

  /**
   * @param {Entry} entry
   * @param {string} currency
   */
  #entry(entry, currency) {
    const time = make("time", "", this.words.when(entry.made_at));
    time.dateTime = entry.made_at;
    const item = make("li", "", make("p", "deed", make("b", "", whoever(entry)), ` ${did(entry.action)} · `, time));
    const changes = make("dl", "");
    for (const { field, from, to } of entry.changes) {
      const value = (/** @type {unknown} */ v) => this.#value(field, v, currency);
      changes.append(make("dt", "", LABELS[field] ?? field));
      changes.append(entry.action === "create" ? make("dd", "", value(to)) : make("dd", "", make("s", "", value(from)), make("span", "sr", " became "), make("span", "arrow", " → "), make("ins", "", value(to))));
    }
    for (const arrow of changes.querySelectorAll(".arrow")) arrow.setAttribute("aria-hidden", "true");
    if (changes.childElementCount > 0) item.append(changes);
    return item;
  }

  /**
   * @param {string} field
   * @param {unknown} value
   * @param {string} currency
   */
  #value(field, value, currency) {
    const text = this.words.value(field, value, currency);
    return text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
  }
}
