// How a product looks in the list.

import { fieldsOf, fromTemplate, make, put, remark, say, the } from "./admin-dom.js";
import { FIELDS, valuesOf } from "./admin-draft.js";
import { LABELS, sentences, whoever } from "./admin-words.js";

/**
 * @typedef {import("./admin-draft.js").Draft} Draft
 * @typedef {import("./admin-words.js").Words} Words
 */

/**
 * What there is to see of a product beside its draft.
 * @typedef {object} State
 * @property {boolean} may the person may change it
 * @property {boolean} busy
 * @property {Record<string, string>} wrong by field
 * @property {string} problem
 * @property {string} by who has changed it meanwhile; "" if that is not known yet
 */

/** So long something that has changed can be told. */
const GLOW = 2500;
/** Of a text, in a table of differences. */
const EXCERPT = 160;

export class Face {
  element = fromTemplate("row");
  form = /** @type {HTMLFormElement} */ (the("form", this.element));
  fields = fieldsOf(this.form);
  conflict = the(".conflict", this.element);
  #picture = /** @type {HTMLImageElement} */ (the("img", this.element));

  /**
   * @param {number} id
   * @param {Words} words
   */
  constructor(id, words) {
    this.words = words;
    this.form.dataset.id = String(id);
    const [unfold, rest] = [the(".unfold", this.element), the(".rest", this.element)];
    rest.id = `rest-${id}`;
    unfold.setAttribute("aria-controls", rest.id);
    unfold.addEventListener("click", () => this.unfold(rest.hidden === true));
    this.#picture.addEventListener("error", () => (this.#picture.hidden = true));
  }

  /** @param {boolean} open */
  unfold(open) {
    the(".rest", this.element).hidden = !open;
    const button = the(".unfold", this.element);
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Less" : "More";
  }

  /**
   * @param {Draft} draft
   * @param {State} state
   */
  paint(draft, state) {
    const { product: p, changed } = draft;
    const editable = state.may && !p.archived;
    const contested = new Set(draft.conflict?.fields);
    for (const name of FIELDS) {
      const field = this.fields[name];
      put(field, draft.values[name]);
      if (field.matches("[type=checkbox]")) field.toggleAttribute("disabled", !editable);
      else field.toggleAttribute("readonly", !editable);
      field.classList.toggle("is-changed", changed.includes(name));
      const elsewhere = `Changed elsewhere to ${this.#said(name, draft)}`;
      const wrong = state.wrong[name] && sentences({ [name]: state.wrong[name] }).join(" ");
      remark(field, wrong || (contested.has(name) ? elsewhere : ""), Boolean(wrong));
    }
    this.#texts(draft);
    this.#buttons(draft, state, editable);
    this.#quarrel(draft, state.by);
    say(the(".problem", this.element), state.problem);
    this.element.classList.toggle("is-archived", p.archived);
    this.element.toggleAttribute("aria-busy", state.busy);
  }

  /** @param {Draft} draft */
  #texts({ product: p }) {
    the("legend", this.element).textContent = `${p.title}, ${p.sku}`;
    the(".sku", this.element).textContent = p.sku;
    the(".which .vendor", this.element).textContent = p.vendor;
    the(".badge", this.element).hidden = !p.archived;
    for (const currency of this.element.querySelectorAll(".currency")) currency.textContent = p.currency;
    the(".facts", this.element).textContent =
      `No. ${p.id} · created ${this.words.when(p.created_at)} · changed ${this.words.when(new Date(p.version / 1000).toISOString())}`;
    // What the content security policy forbids is not asked for.
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
  #buttons({ product: p, changed, conflict }, { may, busy }, editable) {
    const [save, back] = [the(".save", this.element), the(".back", this.element)];
    save.hidden = !editable || !busy && changed.length === 0 || conflict !== null;
    back.hidden = busy || changed.length === 0 || conflict !== null;
    save.textContent = busy ? "Saving…" : "Save";
    the(".publish", this.element).hidden = !editable;
    the(".publish", this.element).textContent = p.published ? "Unpublish" : "Publish";
    the(".archive", this.element).hidden = !may;
    the(".archive", this.element).textContent = p.archived ? "Restore" : "Archive…";
  }

  /**
   * What is there and what is here, side by side.
   * @param {Draft} draft
   * @param {string} by
   */
  #quarrel(draft, by) {
    const { conflict, product: p } = draft;
    this.conflict.hidden = conflict === null;
    if (!conflict) return;
    const table = make("table", "");
    table.append(make("caption", "", by ? `Somebody else has changed this product meanwhile: ${by}.` : "Somebody else has changed this product meanwhile."));
    const head = table.createTHead().insertRow();
    for (const text of ["", "Now", "You typed"]) head.append(make(text ? "th" : "td", "", text));
    const body = table.createTBody();
    for (const name of conflict.fields) {
      const row = body.insertRow();
      const label = make("th", "", LABELS[name]);
      label.scope = "row";
      const typed = draft.values[name];
      row.append(label, make("td", "", this.#said(name, draft)), make("td", "", typeof typed === "boolean" ? this.words.value(name, typed, "") : excerpt(typed) || "none"));
    }
    the(".scroll", this.conflict).replaceChildren(table);
    const [was, is] = [valuesOf(conflict.since), valuesOf(p)];
    const also = conflict.theirs.filter((name) => !conflict.fields.includes(name));
    the(".also", this.conflict).textContent = also.length === 0 ? "" : "Changed as well, and taken over: " +
      also.map((name) => `${LABELS[name]} ${this.#value(name, was[name], p.currency)} → ${this.#value(name, is[name], p.currency)}`).join("; ");
  }

  /**
   * What the product says now.
   * @param {string} name
   * @param {Draft} draft
   */
  #said(name, { product: p }) {
    return this.#value(name, valuesOf(p)[name], p.currency);
  }

  /**
   * @param {string} name
   * @param {string | boolean} value
   * @param {string} currency
   */
  #value(name, value, currency) {
    return excerpt(this.words.value(name, value, currency));
  }

  /**
   * @param {number} pages that show the product right now
   * @param {boolean} complete whether all were asked
   */
  count(pages, complete) {
    const [figure, said] = this.element.querySelectorAll(".open span");
    const known = complete || pages > 0;
    figure.textContent = !known ? "–" : `${complete ? "" : "≥ "}${this.words.whole.format(pages)}`;
    said.textContent = known ? this.words.pages({ pages, complete, products: null }) : "open pages not known";
    figure.classList.toggle("is-none", pages === 0);
  }

  /**
   * Shows for a moment what has changed.
   * @param {string[]} names
   */
  glow(names) {
    for (const name of names) {
      const { classList } = this.fields[name];
      classList.add("is-fresh");
      setTimeout(() => classList.remove("is-fresh"), GLOW);
    }
  }

  /** Takes the person to the first field that is wrong. */
  toWrong() {
    const field = /** @type {HTMLElement | null} */ (this.form.querySelector("[aria-invalid]"));
    if (field?.closest(".rest")) this.unfold(true);
    field?.focus();
  }
}

/** @param {string} text */
function excerpt(text) {
  return text.length > EXCERPT ? `${text.slice(0, EXCERPT)}…` : text;
}

/**
 * Who has made this entry of a history, for somebody whose key that is.
 * @param {import("./admin-api.js").Entry} entry
 * @param {string} self
 */
export function authorOf(entry, self) {
  return whoever(entry) + (entry.author_key === self && self !== "" ? ", the sign-in that you use too" : "");
}
