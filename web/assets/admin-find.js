// The form to search with. The address bar has what is searched for, so that a
// reload, a bookmark and the way back find it.

import { fieldsOf, put, the } from "./admin-dom.js";
import { queryOf, sameSearch, searchOf } from "./admin-search.js";

/** @typedef {import("./admin-search.js").Search} Search */

/** Of typing, until it is searched for. */
const REST = 250;

export class Finder {
  #form = /** @type {HTMLFormElement} */ (the("#search"));
  #fields = fieldsOf(this.#form);
  #sorts = [...this.#form.querySelectorAll("select[name=sort] option")].map((o) => /** @type {HTMLOptionElement} */ (o).value);
  /** What is typed in one go is one step back. */
  #burst = false;
  /** @type {Search | undefined} what was looked for last */
  #last;

  /**
   * @param {(search: Search) => Promise<void>} look shows what a search finds
   * @param {(error: unknown, again: () => void) => void} trouble
   */
  constructor(look, trouble) {
    this.look = look;
    this.trouble = trouble;
    this.#listen();
  }

  /** What the address bar asks for. */
  get asked() {
    return searchOf(new URLSearchParams(location.search), this.#sorts);
  }

  /** Looks for what the address bar asks for. */
  begin() {
    return this.#find(this.asked);
  }

  /** Nothing is looked for any more. */
  end() {
    this.#last = undefined;
  }

  #listen() {
    const form = this.#form;
    /** @type {any} */
    let typing;
    form.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#seek(), REST);
    });
    form.addEventListener("focusin", () => (this.#burst = false));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || !(event.target instanceof HTMLInputElement)) return;
      clearTimeout(typing); // without a button a form of two fields is not sent by Enter
      this.#seek();
    });
    the("#clear").addEventListener("click", () => {
      form.reset();
      this.#burst = false;
      this.#seek();
      the("#filter").focus();
    });
    the("#filters").addEventListener("click", () => {
      const opened = the("#picks").classList.toggle("is-open");
      the("#filters").setAttribute("aria-expanded", String(opened));
    });
    addEventListener("popstate", () => {
      if (!this.#last || sameSearch(this.asked, this.#last)) return;
      const again = () => void this.#find(this.asked).catch((error) => this.trouble(error, again));
      again();
    });
  }

  /** Looks for what is in the form. */
  #seek() {
    const data = Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, field.value.trim()]));
    const wanted = searchOf(new URLSearchParams(data), this.#sorts);
    if (this.#last && sameSearch(wanted, this.#last)) return;
    const query = queryOf(wanted);
    history[this.#burst ? "replaceState" : "pushState"](null, "", location.pathname + (query && `?${query}`));
    this.#burst = true;
    const again = () => void this.#find(wanted).catch((error) => this.trouble(error, again));
    again();
  }

  /** @param {Search} wanted */
  async #find(wanted) {
    this.#last = wanted;
    // What somebody types with a space at its end stays as it is.
    for (const [name, value] of Object.entries(wanted)) if (this.#fields[name].value.trim() !== value) put(this.#fields[name], value);
    the("#clear").hidden = !queryOf(wanted);
    the("#trouble").hidden = true;
    await this.look(wanted);
  }
}
