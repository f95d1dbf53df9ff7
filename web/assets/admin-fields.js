// The fields of a product: the only list of them in the admin page. A field without an
// input in admin.html gets one from here.

/** @typedef {"text" | "html" | "money" | "integer" | "flag"} Kind */

/**
 * @typedef {object} Field
 * @property {string} label
 * @property {Kind} kind
 * @property {boolean} [required]
 * @property {boolean} [nullable] an empty input means null
 * @property {"create" | "never"} [editable] only in a new product, or never; always by default
 */

/** In the order in which changes are listed. @type {Record<string, Field>} */
export const FIELDS = {
  title: { label: "Title", kind: "text", required: true },
  price: { label: "Price", kind: "money", required: true },
  compare_at_price: { label: "Compare-at price", kind: "money", nullable: true },
  stock: { label: "Stock", kind: "integer", required: true },
  published: { label: "Published", kind: "flag" },
  vendor: { label: "Vendor", kind: "text" },
  image_url: { label: "Picture URL", kind: "text" },
  description: { label: "Description", kind: "html" },
  sku: { label: "SKU", kind: "text", required: true, editable: "create" },
  currency: { label: "Currency", kind: "text", required: true, editable: "create" },
  external_id: { label: "External ID", kind: "text", editable: "never" },
  archived: { label: "Archived", kind: "flag", editable: "never" },
};

/** The names of the fields that can be edited in a product. */
export const EDITABLE = Object.keys(FIELDS).filter((name) => !FIELDS[name].editable);

/** The names of the fields of a new product. */
export const CREATABLE = Object.keys(FIELDS).filter((name) => FIELDS[name].editable !== "never");

/**
 * Returns the label of a field of a product or form.
 * @param {string} name
 */
export function labelOf(name) {
  return FIELDS[name]?.label ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
}

/** @param {string} name */
export function kindOf(name) {
  return FIELDS[name]?.kind ?? "text";
}
