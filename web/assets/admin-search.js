// A search: in a URL, in an API call and in words.

/** @typedef {{q: string, vendor: string, published: string, archived: string, sort: string}} Search */

/** @type {(keyof Search)[]} */
const NAMES = ["q", "vendor", "published", "archived", "sort"];

const PUBLISHED = ["", "true", "false"];
const ARCHIVED = ["", "any", "true"];

/**
 * Parses a search. Invalid values are ignored.
 * @param {URLSearchParams} query
 * @param {string[]} sorts the known ones
 * @returns {Search}
 */
export function parseSearch(query, sorts) {
  const oneOf = (/** @type {string} */ name, /** @type {string[]} */ of) => of.find((v) => v === query.get(name)) ?? "";
  return {
    q: (query.get("q") ?? "").slice(0, 255), vendor: (query.get("vendor") ?? "").slice(0, 255),
    published: oneOf("published", PUBLISHED), archived: oneOf("archived", ARCHIVED), sort: oneOf("sort", sorts),
  };
}

/**
 * Formats a search as a query string; "" without filters.
 * @param {Search} search
 */
export function formatSearch(search) {
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
 * Returns the filter of a bulk change that selects the products of a search. Archived
 * products keep their prices: undefined if the search selects only those.
 * @param {Search} search
 */
export function bulkFilter(search) {
  if (search.archived === "true") return undefined;
  /** @type {{q?: string, vendor?: string, published?: boolean}} */
  const filter = {};
  if (search.q) filter.q = search.q;
  if (search.vendor) filter.vendor = search.vendor;
  if (search.published) filter.published = search.published === "true";
  return filter;
}

/**
 * Describes which products a bulk change selects.
 * @param {Search} search
 */
export function describeSearch(search) {
  const parts = [
    search.q && `with “${search.q}” in the title or SKU`,
    search.vendor && `from the vendor “${search.vendor}”`,
    search.published && (search.published === "true" ? "that are published" : "that are not published"),
  ].filter(Boolean);
  return parts.length > 0 ? `All products ${parts.join(", ")}.` : "Every product in the shop, because no search is set.";
}
