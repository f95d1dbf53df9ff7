// The dialog that shows a product's history.

import { isAbort, Problem } from "./admin-api.js";
import { createElement, find, openDialog } from "./admin-dom.js";
import { labelOf } from "./admin-fields.js";
import { formatAction, formatAuthor } from "./admin-format.js";

/**
 * @typedef {import("./admin-api.js").Entry} Entry
 * @typedef {import("./admin-api.js").Product} Product
 */

const PAGE_SIZE = 20;
/** Characters of a text in an entry. */
const MAX_EXCERPT = 200;

export class HistoryDialog {
  #dialog = /** @type {HTMLDialogElement} */ (find("#history"));
  #older = /** @type {HTMLButtonElement} */ (find("[data-older]", this.#dialog));
  #loading = new AbortController();

  /**
   * @param {Pick<import("./admin-api.js").Api, "get">} api
   * @param {import("./admin-format.js").Formatter} format
   */
  constructor(api, format) {
    this.api = api;
    this.format = format;
  }

  /** @param {Product} product */
  show(product) {
    this.#loading = new AbortController();
    find("h2", this.#dialog).textContent = `History of “${product.title}”`;
    find(".entries", this.#dialog).replaceChildren();
    openDialog(this.#dialog, () => this.#loading.abort());
    void this.#load(product, "");
  }

  /**
   * @param {Product} product
   * @param {string} cursor
   */
  async #load(product, cursor) {
    const problem = find(".problem", this.#dialog);
    problem.textContent = "";
    this.#older.hidden = true;
    try {
      const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(cursor && { cursor }) });
      const { entries, next } = await this.api.get(`/products/${product.id}/history?${query}`, this.#loading.signal);
      const list = find(".entries", this.#dialog);
      list.append(...entries.map((/** @type {Entry} */ entry) => this.#entry(entry, product.currency)));
      if (list.childElementCount === 0) problem.textContent = "There is no history. The product was written directly to the database.";
      this.#offerMore(product, next);
    } catch (error) {
      if (isAbort(error)) return;
      if (!(error instanceof Problem)) throw error;
      problem.textContent = error.message;
      this.#offerMore(product, cursor, "Try again");
    }
  }

  /**
   * @param {Product} product
   * @param {string | undefined} cursor
   * @param {string} [text]
   */
  #offerMore(product, cursor, text = "Older") {
    this.#older.hidden = cursor === undefined;
    this.#older.textContent = text;
    this.#older.onclick = () => void this.#load(product, cursor ?? "");
  }

  /**
   * @param {Entry} entry
   * @param {string} currency
   */
  #entry(entry, currency) {
    const time = createElement("time", "", this.format.time(entry.made_at));
    time.dateTime = entry.made_at;
    const item = createElement("li", "", createElement("p", "summary", createElement("b", "", formatAuthor(entry)), ` ${formatAction(entry.action)} · `, time));
    const changes = createElement("dl", "");
    for (const { field, from, to } of entry.changes) {
      const value = (/** @type {unknown} */ v) => this.#value(field, v, currency);
      changes.append(createElement("dt", "", labelOf(field)));
      changes.append(entry.action === "create" ? createElement("dd", "", value(to)) : createElement("dd", "", createElement("s", "", value(from)), createElement("span", "sr", " became "), createElement("span", "arrow", " → "), createElement("ins", "", value(to))));
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
    const text = this.format.value(field, value, currency);
    return text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT)}…` : text;
  }
}
