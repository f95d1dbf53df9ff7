// Changes the prices of all that is searched for, once it was tried.

import { Problem } from "./admin-api.js";
import { fieldsOf, open, remark, say, the } from "./admin-dom.js";
import { decimal } from "./admin-draft.js";
import { filterOf, scopeOf } from "./admin-search.js";
import { sentences } from "./admin-words.js";

/**
 * @typedef {import("./admin-api.js").Repriced} Repriced
 * @typedef {import("./admin-search.js").Search} Search
 */

/**
 * What can be said of inputs: nothing, or what they would do.
 * @typedef {object} Tried
 * @property {string} body that was tried
 * @property {number} changed prices that would become others
 */

const PATH = "/products:reprice";

export class Bulk {
  #dialog = /** @type {HTMLDialogElement} */ (the("#bulk"));
  #form = /** @type {HTMLFormElement} */ (the("form", this.#dialog));
  #fields = fieldsOf(this.#form);
  #try = /** @type {HTMLButtonElement} */ (the("[data-try]", this.#dialog));
  #go = /** @type {HTMLButtonElement} */ (the("[data-go]", this.#dialog));
  /** @type {ReturnType<typeof filterOf>} */
  #filter;
  /** @type {Tried | undefined} */
  #tried;
  #busy = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "change">} api
   * @param {import("./admin-words.js").Words} words
   * @param {(text: string) => void} notice
   */
  constructor(api, words, notice) {
    this.api = api;
    this.words = words;
    this.notice = notice;
    this.#form.addEventListener("input", () => {
      remark(this.#fields.percent, "", false);
      this.#paint();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#attempt(() => this.#dryRun());
    });
    this.#go.addEventListener("click", () => void this.#attempt(() => this.#change()));
  }

  /** @param {Search} search whose products are meant */
  show(search) {
    this.#filter = filterOf(search);
    this.#tried = undefined;
    the(".scope-text", this.#dialog).textContent = this.#filter
      ? scopeOf(search) + (search.archived ? " Archived ones keep their prices." : "")
      : "The search is for archived products, which keep their prices. Search for others first.";
    say(the(".outcome", this.#dialog), "");
    say(the(".problem", this.#dialog), "");
    remark(this.#fields.percent, "", false);
    this.#paint();
    open(this.#dialog);
    this.#fields.percent.focus();
  }

  /** What would be asked for now. */
  get #body() {
    return {
      filter: this.#filter ?? {}, percent: decimal(this.#fields.percent.value), compare_at_price: this.#fields.compare_at_price.value,
    };
  }

  #paint() {
    const count = this.#tried?.body === JSON.stringify(this.#body) ? this.#tried.changed : undefined;
    this.#try.disabled = this.#busy || !this.#filter;
    this.#go.disabled = this.#busy || !count;
    this.#go.textContent = count ? `Change ${this.words.count(count, "price")}` : "Change prices";
    the("#bulk-why").hidden = Boolean(count);
    the(".outcome", this.#dialog).classList.toggle("is-old", this.#tried !== undefined && count === undefined);
  }

  async #dryRun() {
    const body = this.#body;
    const result = await this.#ask(`${PATH}?dry_run=true`, body);
    this.#tried = { body: JSON.stringify(body), changed: result.changed };
    const { words } = this;
    say(the(".outcome", this.#dialog), result.changed === 0
      ? `${words.count(result.matched, "product")} found, and no price would change.`
      : `${words.count(result.matched, "product")} found. ${words.count(result.changed, "price")} would change, on ${words.pages(result.pages)}. Nothing has been changed yet.`);
  }

  async #change() {
    const result = await this.#ask(PATH, this.#body);
    this.#tried = undefined;
    const text = `Changed ${this.words.count(result.changed, "price")} of ${this.words.count(result.matched, "product")}, on ${this.words.pages(result.pages)}.`;
    say(the(".outcome", this.#dialog), text);
    this.notice(text);
  }

  /**
   * @param {string} path
   * @param {object} body
   * @returns {Promise<Repriced>}
   */
  #ask(path, body) {
    return this.api.change("POST", path, { body });
  }

  /** @param {() => Promise<void>} act */
  async #attempt(act) {
    if (this.#busy || !this.#filter) return;
    const from = document.activeElement;
    this.#busy = true;
    say(the(".problem", this.#dialog), "");
    this.#paint();
    try {
      if (!/^[+-]?\d{1,4}(\.\d{1,4})?$/.test(decimal(this.#fields.percent.value))) {
        throw new Problem(422, "", { fields: { percent: "is not a number such as -10 or 2.5" } });
      }
      await act();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#refuse(error);
    } finally {
      this.#busy = false;
      this.#paint();
      const next = this.#go.disabled ? this.#fields.percent : this.#go;
      if (from instanceof HTMLButtonElement && from.disabled || document.activeElement === document.body) next.focus();
    }
  }

  /** @param {Problem} problem */
  #refuse(problem) {
    const said = sentences(problem.fields).join(" ");
    remark(this.#fields.percent, problem.fields.percent ? said : "", Boolean(problem.fields.percent));
    const unsure = problem.open && problem.status !== 429 ? " Whether prices were changed is not known; the same again is made once." : "";
    say(the(".problem", this.#dialog), (said || problem.message) + unsure);
    this.#fields.percent.focus();
  }
}
