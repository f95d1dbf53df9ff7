// How the page says things.

/** The fields of a product, as the page calls them. @type {Record<string, string>} */
export const LABELS = {
  sku: "SKU", external_id: "External id", title: "Title", price: "Price", compare_at_price: "Compare-at price", currency: "Currency", stock: "Stock",
  published: "Published", archived: "Archived", vendor: "Vendor", image_url: "Picture URL", description: "Description",
  percent: "Percent",
};

/** What a history tells of. @type {Record<string, string>} */
const ACTIONS = {
  create: "created it", edit: "edited it", archive: "archived it", restore: "restored it",
  reprice: "changed prices in bulk", refresh: "gave it a new version",
};

/** @type {Record<string, string>} */
const FLAGS = { published: "published", archived: "archived" };

export class Words {
  /** @param {string} locale as CLDR writes it, such as de or en-GB */
  constructor(locale) {
    this.locale = known(locale.replaceAll("_", "-"));
    this.moment = new Intl.DateTimeFormat(this.locale, { dateStyle: "medium", timeStyle: "medium" });
    this.whole = new Intl.NumberFormat(this.locale);
  }

  /**
   * @param {string} amount a decimal number
   * @param {string} currency
   */
  money(amount, currency) {
    try {
      return new Intl.NumberFormat(this.locale, { style: "currency", currency }).format(Number(amount));
    } catch {
      return `${amount} ${currency}`; // a code that is none
    }
  }

  /**
   * A value of a product's field.
   * @param {string} name
   * @param {unknown} value as in JSON
   * @param {string} currency
   */
  value(name, value, currency) {
    if (value === null || value === undefined || value === "") return "none";
    if (name === "price" || name === "compare_at_price") return this.money(String(value), currency);
    if (name in FLAGS) return value ? FLAGS[name] : `not ${FLAGS[name]}`;
    if (typeof value === "number") return this.whole.format(value);
    return String(value);
  }

  /** @param {string} time */
  when(time) {
    return this.moment.format(new Date(time));
  }

  /**
   * @param {number} n
   * @param {string} one
   * @param {string} [many]
   */
  count(n, one, many = `${one}s`) {
    return `${this.whole.format(n)} ${n === 1 ? one : many}`;
  }

  /** @param {import("./admin-api.js").Census} census */
  pages(census) {
    const text = this.count(census.pages, "open page");
    if (census.complete) return text;
    return census.pages > 0 ? `at least ${text}` : "some open pages or none: they could not be counted";
  }
}

/** @param {string} locale */
function known(locale) {
  try {
    return Intl.getCanonicalLocales(locale)[0] ?? "en";
  } catch {
    return "en";
  }
}

/** @param {string} action */
export function did(action) {
  return ACTIONS[action] ?? action;
}

/**
 * What a description has lost on its way into the shop, as a sentence; "" if nothing.
 * @param {import("./admin-api.js").Product} product
 */
export function lost({ removed }) {
  return removed ? `The description was saved without what the shop does not allow: ${removed}.` : "";
}

/**
 * Who it was, as the name and, in brackets, what only that one is: others may have
 * the name, and nobody can choose what the brackets say. The token of the settings
 * alone has none.
 * @param {{author: string, author_key: string}} entry
 */
export function whoever({ author, author_key: key }) {
  const [kind, ...rest] = key.split(":");
  if (kind === "root") return "admin token";
  if (kind === "token") return `${author} (token ${rest[0]})`;
  if (kind === "jwt") return `${author} (${author === rest.slice(1).join(":") ? "signed in" : `signed in as ${rest.slice(1).join(":")}`})`;
  if (key !== "") return `${author} (${key})`;
  return author === "" ? "unknown" : `${author} (not checked)`;
}

/**
 * Problems of fields, each as a sentence.
 * @param {Record<string, string>} fields
 */
export function sentences(fields) {
  return Object.entries(fields).map(([name, wrong]) => `${LABELS[name] ?? name} ${wrong}.`);
}
