// The elements of a product's row.

import { createElement, find, fromTemplate, productInputs, setNote, setText, setValue } from "./admin-dom.js";
import { valuesOf } from "./admin-draft.js";
import { EDITABLE, labelOf } from "./admin-fields.js";
import { formatAuthor, formatErrors } from "./admin-format.js";

/**
 * @typedef {import("./admin-draft.js").Draft} Draft
 * @typedef {import("./admin-format.js").Formatter} Formatter
 */

/**
 * What a row shows besides the draft.
 * @typedef {object} State
 * @property {boolean} writable the person may change products
 * @property {boolean} busy
 * @property {Record<string, string>} errors by field
 * @property {string} problem
 * @property {string} author who made the conflicting change; "" if not known yet
 */

/** How long a change is highlighted, in milliseconds. */
const HIGHLIGHT_DURATION = 2500;
/** Characters of a text in the table of a conflict. */
const MAX_EXCERPT = 160;

export class RowView {
  element = fromTemplate("row");
  form = /** @type {HTMLFormElement} */ (find("form", this.element));
  inputs = productInputs(this.form, EDITABLE, (element) => find(".facts", this.form).before(element));
  conflict = find(".conflict", this.element);
  #picture = /** @type {HTMLImageElement} */ (find("img", this.element));

  /**
   * @param {number} id
   * @param {Formatter} format
   */
  constructor(id, format) {
    this.format = format;
    this.form.dataset.id = String(id);
    const [toggle, details] = [find(".toggle", this.element), find(".details", this.element)];
    details.id = `details-${id}`;
    toggle.setAttribute("aria-controls", details.id);
    toggle.addEventListener("click", () => this.showDetails(details.hidden === true));
    this.#picture.addEventListener("error", () => (this.#picture.hidden = true));
  }

  /** @param {boolean} open */
  showDetails(open) {
    find(".details", this.element).hidden = !open;
    const button = find(".toggle", this.element);
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Less" : "More";
  }

  /**
   * @param {Draft} draft
   * @param {State} state
   */
  render(draft, state) {
    const { product: p, changed } = draft;
    const editable = state.writable && !p.archived;
    const contested = new Set(draft.conflict?.fields);
    for (const name of EDITABLE) {
      const input = this.inputs[name];
      setValue(input, draft.values[name]);
      if (input.matches("[type=checkbox]")) input.toggleAttribute("disabled", !editable);
      else input.toggleAttribute("readonly", !editable);
      input.classList.toggle("is-changed", changed.includes(name));
      const elsewhere = `Someone else changed this to ${this.#current(name, draft)}`;
      const error = state.errors[name] && formatErrors({ [name]: state.errors[name] }).join(" ");
      setNote(input, error || (contested.has(name) ? elsewhere : ""), Boolean(error));
    }
    this.#renderTexts(draft);
    this.#renderButtons(draft, state, editable);
    this.#renderConflict(draft, state.author);
    setText(find(".problem", this.element), state.problem);
    this.element.classList.toggle("is-archived", p.archived);
    this.element.toggleAttribute("aria-busy", state.busy);
  }

  /** @param {Draft} draft */
  #renderTexts({ product: p }) {
    find("legend", this.element).textContent = `${p.title}, ${p.sku}`;
    find(".sku", this.element).textContent = p.sku;
    find(".identity .vendor", this.element).textContent = p.vendor;
    find(".badge", this.element).hidden = !p.archived;
    for (const currency of this.element.querySelectorAll(".currency")) currency.textContent = p.currency;
    find(".facts", this.element).textContent =
      `ID ${p.id} · created ${this.format.time(p.created_at)} · changed ${this.format.time(new Date(p.version / 1000).toISOString())}`;
    // Do not request what the content security policy forbids.
    const source = /^(https:\/\/|\/)/.test(p.image_url) ? p.image_url : "";
    if (this.#picture.getAttribute("src") === (source || null)) return;
    this.#picture.hidden = !source;
    if (source) this.#picture.src = source;
    else this.#picture.removeAttribute("src");
  }

  /**
   * @param {Draft} draft
   * @param {State} state
   * @param {boolean} editable
   */
  #renderButtons({ product: p, changed, conflict }, { writable, busy }, editable) {
    const [save, undo] = [find(".save", this.element), find(".undo", this.element)];
    save.hidden = !editable || !busy && changed.length === 0 || conflict !== null;
    undo.hidden = busy || changed.length === 0 || conflict !== null;
    save.textContent = busy ? "Saving…" : "Save";
    find(".publish", this.element).hidden = !editable;
    find(".publish", this.element).textContent = p.published ? "Unpublish" : "Publish";
    find(".archive", this.element).hidden = !writable;
    find(".archive", this.element).textContent = p.archived ? "Restore" : "Archive…";
  }

  /**
   * Shows the current values and the person's side by side.
   * @param {Draft} draft
   * @param {string} author
   */
  #renderConflict(draft, author) {
    const { conflict, product: p } = draft;
    this.conflict.hidden = conflict === null;
    if (!conflict) return;
    const table = createElement("table", "");
    table.append(createElement("caption", "", author ? `This product was changed by ${author}.` : "Someone else changed this product."));
    const head = table.createTHead().insertRow();
    for (const text of ["", "Now", "You typed"]) head.append(createElement(text ? "th" : "td", "", text));
    const body = table.createTBody();
    for (const name of conflict.fields) {
      const row = body.insertRow();
      const label = createElement("th", "", labelOf(name));
      label.scope = "row";
      const typed = draft.values[name];
      row.append(label, createElement("td", "", this.#current(name, draft)), createElement("td", "", typeof typed === "boolean" ? this.format.value(name, typed, "") : excerpt(typed) || "none"));
    }
    find(".scroll", this.conflict).replaceChildren(table);
    const [old, current] = [valuesOf(conflict.since), valuesOf(p)];
    const also = conflict.theirs.filter((name) => !conflict.fields.includes(name));
    find(".also", this.conflict).textContent = also.length === 0 ? "" : "Also changed, and updated here: " +
      also.map((name) => `${labelOf(name)} ${this.#value(name, old[name], p.currency)} → ${this.#value(name, current[name], p.currency)}`).join("; ");
  }

  /**
   * Formats a field's current value.
   * @param {string} name
   * @param {Draft} draft
   */
  #current(name, { product: p }) {
    return this.#value(name, valuesOf(p)[name], p.currency);
  }

  /**
   * @param {string} name
   * @param {string | boolean} value
   * @param {string} currency
   */
  #value(name, value, currency) {
    return excerpt(this.format.value(name, value, currency));
  }

  /**
   * Shows how many open pages show the product.
   * @param {number} pages
   * @param {boolean} complete whether all instances were counted
   */
  setPageCount(pages, complete) {
    const [figure, text] = this.element.querySelectorAll(".open span");
    const known = complete || pages > 0;
    figure.textContent = !known ? "–" : `${complete ? "" : "≥ "}${this.format.integer.format(pages)}`;
    text.textContent = known ? this.format.pages({ pages, complete, products: null }) : "number of open pages unknown";
    figure.classList.toggle("is-none", pages === 0);
  }

  /**
   * Highlights changed fields for a moment.
   * @param {string[]} names
   */
  highlight(names) {
    for (const name of names) {
      const { classList } = this.inputs[name];
      classList.add("is-fresh");
      setTimeout(() => classList.remove("is-fresh"), HIGHLIGHT_DURATION);
    }
  }

  /** Moves the focus to the first invalid input. */
  focusInvalid() {
    const input = /** @type {HTMLElement | null} */ (this.form.querySelector("[aria-invalid]"));
    if (input?.closest(".details")) this.showDetails(true);
    input?.focus();
  }
}

/** @param {string} text */
function excerpt(text) {
  return text.length > MAX_EXCERPT ? `${text.slice(0, MAX_EXCERPT)}…` : text;
}

/**
 * Formats the author of a history entry, for the person whose key is self.
 * @param {import("./admin-api.js").Entry} entry
 * @param {string} self
 */
export function formatEntryAuthor(entry, self) {
  return formatAuthor(entry) + (entry.author_key === self && self !== "" ? ", your own sign-in" : "");
}
