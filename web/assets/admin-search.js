// What is searched for: in the form, in the address bar, in a call and in words.

/** @typedef {{q: string, vendor: string, published: string, archived: string, sort: string}} Search */

/** @type {(keyof Search)[]} */
const NAMES = ["q", "vendor", "published", "archived", "sort"];

const PUBLISHED = ["", "true", "false"];
const ARCHIVED = ["", "any", "true"];

/**
 * The search that an address names. What it cannot be is left out.
 * @param {URLSearchParams} query
 * @param {string[]} sorts those that there are
 * @returns {Search}
 */
export function searchOf(query, sorts) {
  const one = (/** @type {string} */ name, /** @type {string[]} */ of) => of.find((v) => v === query.get(name)) ?? "";
  return {
    q: (query.get("q") ?? "").slice(0, 255), vendor: (query.get("vendor") ?? "").slice(0, 255),
    published: one("published", PUBLISHED), archived: one("archived", ARCHIVED), sort: one("sort", sorts),
  };
}

/**
 * The query that names a search; "" if everything is searched for.
 * @param {Search} search
 */
export function queryOf(search) {
  const query = new URLSearchParams();
  for (const name of NAMES) if (search[name]) query.set(name, search[name]);
  return query.toString();
}

/**
 * @param {Search} a
 * @param {Search} b
 */
export function sameSearch(a, b) {
  return NAMES.every((name) => a[name] === b[name]);
}

/**
 * The filter of a bulk change that picks what the search does, or undefined if
 * that is archived products, which keep their prices.
 * @param {Search} search
 */
export function filterOf(search) {
  if (search.archived === "true") return undefined;
  /** @type {{q?: string, vendor?: string, published?: boolean}} */
  const filter = {};
  if (search.q) filter.q = search.q;
  if (search.vendor) filter.vendor = search.vendor;
  if (search.published) filter.published = search.published === "true";
  return filter;
}

/**
 * What a bulk change picks, in words.
 * @param {Search} search
 */
export function scopeOf(search) {
  const of = [
    search.q && `with “${search.q}” in the title or the SKU`,
    search.vendor && `of the vendor “${search.vendor}”`,
    search.published && (search.published === "true" ? "that are published" : "that are not published"),
  ].filter(Boolean);
  return of.length > 0 ? `All products ${of.join(", ")}.` : "Every product of the shop: nothing is searched for.";
}
