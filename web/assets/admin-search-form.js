// The search form. The URL holds the search, so that reload, bookmarks and the back
// button work.

import { find, inputsOf, setValue } from "./admin-dom.js";
import { formatSearch, parseSearch, sameSearch } from "./admin-search.js";

/** @typedef {import("./admin-search.js").Search} Search */

/** The search starts this long after the last key, in milliseconds. */
const TYPING_DELAY = 250;

export class SearchForm {
  #form = /** @type {HTMLFormElement} */ (find("#search"));
  #inputs = inputsOf(this.#form);
  #sorts = [...this.#form.querySelectorAll("select[name=sort] option")].map((o) => /** @type {HTMLOptionElement} */ (o).value);
  /** Searches while typing replace each other in the browser's history. */
  #typing = false;
  /** @type {Search | undefined} the last search */
  #last;

  /**
   * @param {(search: Search) => Promise<void>} load shows the products of a search
   * @param {(error: unknown, retry: () => void) => void} onError
   */
  constructor(load, onError) {
    this.load = load;
    this.onError = onError;
    this.#listen();
  }

  /** The search in the URL. */
  get current() {
    return parseSearch(new URLSearchParams(location.search), this.#sorts);
  }

  /** Runs the search in the URL. */
  start() {
    return this.#run(this.current);
  }

  /** Forgets the last search. */
  stop() {
    this.#last = undefined;
  }

  #listen() {
    const form = this.#form;
    /** @type {any} */
    let timer;
    form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.#submit(), TYPING_DELAY);
    });
    form.addEventListener("focusin", () => (this.#typing = false));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing || !(event.target instanceof HTMLInputElement)) return;
      clearTimeout(timer); // a form without a submit button does not submit by Enter
      this.#submit();
    });
    find("#clear").addEventListener("click", () => {
      form.reset();
      this.#typing = false;
      this.#submit();
      find("#filter").focus();
    });
    find("#filters").addEventListener("click", () => {
      const opened = find("#filter-fields").classList.toggle("is-open");
      find("#filters").setAttribute("aria-expanded", String(opened));
    });
    addEventListener("popstate", () => {
      if (!this.#last || sameSearch(this.current, this.#last)) return;
      const retry = () => void this.#run(this.current).catch((error) => this.onError(error, retry));
      retry();
    });
  }

  /** Runs the search in the form. */
  #submit() {
    const data = Object.fromEntries(Object.entries(this.#inputs).map(([name, field]) => [name, field.value.trim()]));
    const search = parseSearch(new URLSearchParams(data), this.#sorts);
    if (this.#last && sameSearch(search, this.#last)) return;
    const query = formatSearch(search);
    history[this.#typing ? "replaceState" : "pushState"](null, "", location.pathname + (query && `?${query}`));
    this.#typing = true;
    const retry = () => void this.#run(search).catch((error) => this.onError(error, retry));
    retry();
  }

  /** @param {Search} search */
  async #run(search) {
    this.#last = search;
    // Keep a trailing space while the person types.
    for (const [name, value] of Object.entries(search)) if (this.#inputs[name].value.trim() !== value) setValue(this.#inputs[name], value);
    find("#clear").hidden = !formatSearch(search);
    find("#error").hidden = true;
    await this.load(search);
  }
}
