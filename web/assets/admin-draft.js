// Unsaved edits of a product, and their merge with changes that others save
// meanwhile. Independent of the page.

import { EDITABLE, FIELDS, kindOf } from "./admin-fields.js";

/** @typedef {import("./admin-api.js").Product} Product */

/** The contents of a form's inputs, by field. @typedef {Record<string, string | boolean>} Values */

/**
 * Fields that were edited here and changed elsewhere. The person decides.
 * @typedef {object} Conflict
 * @property {string[]} fields whose values differ
 * @property {string[]} theirs all fields that have changed elsewhere
 * @property {Product} since the product before the first of these changes
 */

export class Draft {
  /** @type {Conflict | null} */
  conflict = null;

  /** @param {Product} product */
  constructor(product) {
    /** The newest version that has been loaded. */
    this.product = product;
    this.values = valuesOf(product);
  }

  /** The fields whose values differ from the product's. */
  get changed() {
    const current = valuesOf(this.product);
    return EDITABLE.filter((name) => !sameValue(name, this.values[name], current[name]));
  }

  /**
   * @param {string} name
   * @param {string | boolean} value
   */
  set(name, value) {
    this.values[name] = value;
    this.#updateConflict();
  }

  /**
   * Discards the edits of these fields.
   * @param {string[]} [names] all fields by default
   */
  revert(names = EDITABLE) {
    const current = valuesOf(this.product);
    for (const name of names) this.values[name] = current[name];
    this.#updateConflict();
  }

  /**
   * Merges a version of the product that was saved elsewhere. Edited fields keep the
   * person's values; the others take the new ones. Fields that changed on both sides
   * are a conflict; if the server refused our edit, all edited fields are.
   * @param {Product} fresh
   * @param {{refused?: boolean}} [options]
   * @returns {string[]} the fields that have changed elsewhere
   */
  merge(fresh, { refused = false } = {}) {
    if (fresh.version < this.product.version) return [];
    const before = this.product;
    const [old, current] = [valuesOf(before), valuesOf(fresh)];
    const mine = this.changed;
    const theirs = EDITABLE.filter((name) => !sameValue(name, old[name], current[name]));
    for (const name of EDITABLE) if (!mine.includes(name)) this.values[name] = current[name];
    this.product = fresh;
    const contested = new Set([...(this.conflict?.fields ?? []), ...(refused ? mine : theirs)]);
    this.conflict = {
      fields: this.changed.filter((name) => contested.has(name)),
      theirs: EDITABLE.filter((name) => theirs.includes(name) || this.conflict?.theirs.includes(name)),
      since: this.conflict?.since ?? before,
    };
    this.#updateConflict();
    return theirs;
  }

  /**
   * Records that an edit was saved. What was typed while it was saved is kept.
   * @param {Product} answer
   * @param {Values} sent the values when it was sent
   */
  saved(answer, sent) {
    if (answer.version >= this.product.version) this.product = answer; // else a newer version was merged meanwhile
    const current = valuesOf(this.product);
    for (const name of EDITABLE) if (this.values[name] === sent[name]) this.values[name] = current[name];
    this.conflict = null;
  }

  /** Resolves the conflict with the person's values. */
  keepMine() {
    this.conflict = null;
  }

  /** Resolves the conflict with the others' values. */
  takeTheirs() {
    this.revert(this.conflict?.fields ?? []);
  }

  // Fields that are equal again are no longer in conflict.
  #updateConflict() {
    if (!this.conflict) return;
    const changed = this.changed;
    this.conflict.fields = this.conflict.fields.filter((name) => changed.includes(name));
    if (this.conflict.fields.length === 0) this.conflict = null;
  }
}

/**
 * Returns the product's editable fields as inputs show them.
 * @param {Product} product
 * @returns {Values}
 */
export function valuesOf(product) {
  const all = /** @type {Record<string, any>} */ (product);
  return Object.fromEntries(EDITABLE.map((name) => [name, kindOf(name) === "flag" ? all[name] : String(all[name] ?? "")]));
}

/**
 * Returns the merge patch (RFC 7396) with the fields that differ.
 * @param {Draft} draft
 */
export function patchOf(draft) {
  return Object.fromEntries(draft.changed.map((name) => [name, toJSON(name, draft.values[name])]));
}

/**
 * Converts a value of a form to the API's.
 * @param {string} name
 * @param {string | boolean} value
 */
export function toJSON(name, value) {
  if (typeof value === "boolean") return value;
  const kind = kindOf(name);
  if (kind === "integer") return Number(value);
  const text = kind === "money" ? parseDecimal(value) : value.trim();
  return FIELDS[name]?.nullable ? text || null : text;
}

/**
 * Finds numbers that cannot be sent, because they are not numbers. The server
 * validates everything else.
 * @param {Values} values
 * @param {string[]} names the fields to check
 * @returns {Record<string, string>} by field, what is wrong
 */
export function validate(values, names) {
  /** @type {Record<string, string>} */
  const errors = {};
  for (const name of names) {
    const text = String(values[name]).trim();
    const kind = kindOf(name);
    if (kind === "integer" && !/^\d{1,12}$/.test(text)) errors[name] = "must be a whole number";
    if (kind !== "money") continue;
    if (text === "" && FIELDS[name].required) errors[name] = "is required";
    else if (text !== "" && !/^[+-]?\d{1,20}(\.\d{1,20})?$/.test(parseDecimal(text))) errors[name] = "must be a number, such as 19.90";
  }
  return errors;
}

/**
 * Replaces a decimal comma by a point. A comma that may separate thousands stays, and
 * the amount is refused.
 * @param {string} text
 */
export function parseDecimal(text) {
  return text.trim().replace(/^([+-]?\d+),(\d{1,2})$/, "$1.$2");
}

/**
 * Reports whether two values of a field mean the same, as 19.9 and 19.90 do.
 * @param {string} name
 * @param {string | boolean} a
 * @param {string | boolean} b
 */
export function sameValue(name, a, b) {
  return normalize(name, a) === normalize(name, b);
}

/**
 * @param {string} name
 * @param {string | boolean} value
 */
function normalize(name, value) {
  if (typeof value === "boolean") return value;
  const kind = kindOf(name);
  if (kind === "html") return value.replaceAll("\r\n", "\n").trim();
  if (kind !== "integer" && kind !== "money") return value.trim();
  const number = /^([+-]?)0*(\d+?)(?:\.(\d*?)0*)?$/.exec(parseDecimal(value));
  return number ? `${number[1] === "-" ? "-" : ""}${number[2]}.${number[3] ?? ""}` : value.trim();
}
