// Values, counts and people in words.

import { kindOf, labelOf } from "./admin-fields.js";

/** The actions of a history entry. @type {Record<string, string>} */
const ACTIONS = {
  create: "created it", edit: "edited it", archive: "archived it", restore: "restored it",
  reprice: "changed prices in bulk", refresh: "refreshed it",
};

export class Formatter {
  /** @param {string} locale a BCP 47 tag, such as de or en-GB */
  constructor(locale) {
    this.locale = validLocale(locale.replaceAll("_", "-"));
    this.dateTime = new Intl.DateTimeFormat(this.locale, { dateStyle: "medium", timeStyle: "medium" });
    this.integer = new Intl.NumberFormat(this.locale);
  }

  /**
   * @param {string} amount a decimal number
   * @param {string} currency
   */
  money(amount, currency) {
    try {
      return new Intl.NumberFormat(this.locale, { style: "currency", currency }).format(Number(amount));
    } catch {
      return `${amount} ${currency}`; // not a currency code
    }
  }

  /**
   * Formats a value of a product's field.
   * @param {string} name
   * @param {unknown} value as in JSON
   * @param {string} currency
   */
  value(name, value, currency) {
    if (value === null || value === undefined || value === "") return "none";
    const kind = kindOf(name);
    if (kind === "money") return this.money(String(value), currency);
    if (kind === "flag") return (value ? "" : "not ") + labelOf(name).toLowerCase();
    if (typeof value === "number") return this.integer.format(value);
    return String(value);
  }

  /** @param {string} time */
  time(time) {
    return this.dateTime.format(new Date(time));
  }

  /**
   * @param {number} n
   * @param {string} one
   * @param {string} [many]
   */
  count(n, one, many = `${one}s`) {
    return `${this.integer.format(n)} ${n === 1 ? one : many}`;
  }

  /** @param {import("./admin-api.js").PageCounts} counts */
  pages(counts) {
    const text = this.count(counts.pages, "open page");
    if (counts.complete) return text;
    return counts.pages > 0 ? `at least ${text}` : "an unknown number of open pages";
  }
}

/** @param {string} locale */
function validLocale(locale) {
  try {
    return Intl.getCanonicalLocales(locale)[0] ?? "en";
  } catch {
    return "en";
  }
}

/** @param {string} action */
export function formatAction(action) {
  return ACTIONS[action] ?? action;
}

/**
 * Says what the server removed from a description; "" if nothing.
 * @param {import("./admin-api.js").Product} product
 */
export function formatRemoved({ removed }) {
  return removed ? `The description was saved without content that is not allowed: ${removed}.` : "";
}

/**
 * Formats an author: the name, and what identifies the author in parentheses. Names
 * are free to choose, so only the latter tells two authors apart. Only the server's
 * own token has none.
 * @param {{author: string, author_key: string}} entry
 */
export function formatAuthor({ author, author_key: key }) {
  const [kind, ...rest] = key.split(":");
  if (kind === "root") return "admin token";
  if (kind === "token") return `${author} (token ${rest[0]})`;
  if (kind === "jwt") return `${author} (${author === rest.slice(1).join(":") ? "signed in" : `signed in as ${rest.slice(1).join(":")}`})`;
  if (key !== "") return `${author} (${key})`;
  return author === "" ? "unknown" : `${author} (unverified)`;
}

/**
 * Formats the errors of fields, each as a sentence.
 * @param {Record<string, string>} errors by field
 */
export function formatErrors(errors) {
  return Object.entries(errors).map(([name, error]) => `${labelOf(name)} ${error}.`);
}
