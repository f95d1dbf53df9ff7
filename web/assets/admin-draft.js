// What somebody has typed over a product, and what becomes of it when the
// product changes meanwhile. It knows nothing of the page.

/** @typedef {import("./admin-api.js").Product} Product */

/** Fields as they stand in a form. @typedef {Record<string, string | boolean>} Values */

/**
 * A choice that is the person's: these fields were typed here, and the product
 * is another one meanwhile.
 * @typedef {object} Conflict
 * @property {string[]} fields whose value here and there differ
 * @property {string[]} theirs that have changed there
 * @property {Product} since the product as it was when this began
 */

/** The fields that can be edited in place, in their order. */
export const FIELDS = ["title", "price", "compare_at_price", "stock", "published", "vendor", "image_url", "description"];

const MONEY = new Set(["price", "compare_at_price"]);

export class Draft {
  /** @type {Conflict | null} */
  conflict = null;

  /** @param {Product} product */
  constructor(product) {
    /** The newest that is known. */
    this.product = product;
    this.values = valuesOf(product);
  }

  /** The fields that are not as in the product. */
  get changed() {
    const is = valuesOf(this.product);
    return FIELDS.filter((name) => !same(name, this.values[name], is[name]));
  }

  /**
   * @param {string} name
   * @param {string | boolean} value
   */
  type(name, value) {
    this.values[name] = value;
    this.#settle();
  }

  /**
   * Takes back what was typed into these fields.
   * @param {string[]} [names] all, if none are given
   */
  putBack(names = FIELDS) {
    const is = valuesOf(this.product);
    for (const name of names) this.values[name] = is[name];
    this.#settle();
  }

  /**
   * The product has changed elsewhere. What was typed stays; the other fields
   * follow. Where both have changed there is a conflict, and if an edit of ours
   * was refused all that was typed is in it.
   * @param {Product} fresh
   * @param {{refused?: boolean}} [how]
   * @returns {string[]} the fields that have another value now, or would have
   */
  meet(fresh, { refused = false } = {}) {
    if (fresh.version < this.product.version) return [];
    const before = this.product;
    const [was, is] = [valuesOf(before), valuesOf(fresh)];
    const mine = this.changed;
    const theirs = FIELDS.filter((name) => !same(name, was[name], is[name]));
    for (const name of FIELDS) if (!mine.includes(name)) this.values[name] = is[name];
    this.product = fresh;
    const contested = new Set([...(this.conflict?.fields ?? []), ...(refused ? mine : theirs)]);
    this.conflict = {
      fields: this.changed.filter((name) => contested.has(name)),
      theirs: FIELDS.filter((name) => theirs.includes(name) || this.conflict?.theirs.includes(name)),
      since: this.conflict?.since ?? before,
    };
    this.#settle();
    return theirs;
  }

  /**
   * An edit was made. What was typed while it was under way stays.
   * @param {Product} answer
   * @param {Values} sent the values as they were when it was sent
   */
  saved(answer, sent) {
    if (answer.version >= this.product.version) this.product = answer; // or it was said before, and is said again
    const is = valuesOf(this.product);
    for (const name of FIELDS) if (this.values[name] === sent[name]) this.values[name] = is[name];
    this.conflict = null;
  }

  /** What is typed here is meant, whatever it says there. */
  keepMine() {
    this.conflict = null;
  }

  /** What is typed here and contested is given up. */
  takeTheirs() {
    this.putBack(this.conflict?.fields ?? []);
  }

  // A field that is as in the product is contested no more.
  #settle() {
    if (!this.conflict) return;
    const changed = this.changed;
    this.conflict.fields = this.conflict.fields.filter((name) => changed.includes(name));
    if (this.conflict.fields.length === 0) this.conflict = null;
  }
}

/**
 * @param {Product} p
 * @returns {Values}
 */
export function valuesOf(p) {
  return {
    title: p.title, price: p.price, compare_at_price: p.compare_at_price ?? "", stock: String(p.stock),
    published: p.published, vendor: p.vendor, image_url: p.image_url, description: p.description,
  };
}

/**
 * The merge patch (RFC 7396) that makes of a product what was typed: nothing but
 * what differs.
 * @param {Draft} draft
 */
export function patchOf(draft) {
  return Object.fromEntries(draft.changed.map((name) => [name, sent(name, draft.values[name])]));
}

/**
 * A value as it is sent.
 * @param {string} name
 * @param {string | boolean} value
 */
export function sent(name, value) {
  if (typeof value === "boolean") return value;
  if (name === "stock") return Number(value);
  if (name === "compare_at_price") return decimal(value) || null;
  return MONEY.has(name) ? decimal(value) : value.trim();
}

/**
 * What is wrong with values in a way that the server could not say, because they
 * would not reach it as what they are.
 * @param {Values} values
 * @param {string[]} names those to look at
 * @returns {Record<string, string>}
 */
export function broken(values, names) {
  /** @type {Record<string, string>} */
  const wrong = {};
  for (const name of names) {
    const text = String(values[name]).trim();
    if (name === "stock" && !/^\d{1,12}$/.test(text)) wrong.stock = "is not a whole number";
    if (name === "price" && text === "") wrong.price = "is required";
    else if (MONEY.has(name) && text !== "" && !/^[+-]?\d{1,20}(\.\d{1,20})?$/.test(decimal(text))) {
      wrong[name] = "is not a number such as 19.90";
    }
  }
  return wrong;
}

/**
 * An amount with a comma before its cents, as much of Europe writes it, in the
 * server's form. What may be thousands is left as it is, and refused.
 * @param {string} text
 */
export function decimal(text) {
  return text.trim().replace(/^([+-]?\d+),(\d{1,2})$/, "$1.$2");
}

/**
 * Whether two values of a field mean the same: 19.9 is 19.90.
 * @param {string} name
 * @param {string | boolean} a
 * @param {string | boolean} b
 */
export function same(name, a, b) {
  return plain(name, a) === plain(name, b);
}

/**
 * @param {string} name
 * @param {string | boolean} value
 */
function plain(name, value) {
  if (typeof value === "boolean") return value;
  if (name === "description") return value.replaceAll("\r\n", "\n").trim();
  if (name !== "stock" && !MONEY.has(name)) return value.trim();
  const number = /^([+-]?)0*(\d+?)(?:\.(\d*?)0*)?$/.exec(decimal(value));
  return number ? `${number[1] === "-" ? "-" : ""}${number[2]}.${number[3] ?? ""}` : value.trim();
}
