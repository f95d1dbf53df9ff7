// The dialog that changes the prices of all products of a search, after a preview.

import { Problem } from "./admin-api.js";
import { find, inputsOf, openDialog, setNote, setText } from "./admin-dom.js";
import { parseDecimal } from "./admin-draft.js";
import { formatErrors } from "./admin-format.js";
import { bulkFilter, describeSearch } from "./admin-search.js";

/**
 * @typedef {import("./admin-api.js").Repriced} Repriced
 * @typedef {import("./admin-search.js").Search} Search
 */

/**
 * The result of a preview.
 * @typedef {object} Preview
 * @property {string} body of the request
 * @property {number} changed how many prices would change
 */

const PATH = "/products:reprice";

export class RepriceDialog {
  #dialog = /** @type {HTMLDialogElement} */ (find("#bulk"));
  #form = /** @type {HTMLFormElement} */ (find("form", this.#dialog));
  #inputs = inputsOf(this.#form);
  #previewButton = /** @type {HTMLButtonElement} */ (find("[data-preview]", this.#dialog));
  #applyButton = /** @type {HTMLButtonElement} */ (find("[data-apply]", this.#dialog));
  /** @type {ReturnType<typeof bulkFilter>} */
  #filter;
  /** @type {Preview | undefined} */
  #preview;
  #busy = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "change">} api
   * @param {import("./admin-format.js").Formatter} format
   * @param {(text: string) => void} notify
   */
  constructor(api, format, notify) {
    this.api = api;
    this.format = format;
    this.notify = notify;
    this.#form.addEventListener("input", () => {
      setNote(this.#inputs.percent, "", false);
      this.#render();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#attempt(() => this.#runPreview());
    });
    this.#applyButton.addEventListener("click", () => void this.#attempt(() => this.#change()));
  }

  /** @param {Search} search selects the products */
  show(search) {
    this.#filter = bulkFilter(search);
    this.#preview = undefined;
    find(".scope-text", this.#dialog).textContent = this.#filter
      ? describeSearch(search) + (search.archived ? " Archived products keep their prices." : "")
      : "Your search shows only archived products, whose prices cannot be changed. Change the search first.";
    setText(find(".outcome", this.#dialog), "");
    setText(find(".problem", this.#dialog), "");
    setNote(this.#inputs.percent, "", false);
    this.#render();
    openDialog(this.#dialog);
    this.#inputs.percent.focus();
  }

  /** The request for the current inputs. */
  get #body() {
    return {
      filter: this.#filter ?? {}, percent: parseDecimal(this.#inputs.percent.value), compare_at_price: this.#inputs.compare_at_price.value,
    };
  }

  #render() {
    const count = this.#preview?.body === JSON.stringify(this.#body) ? this.#preview.changed : undefined;
    this.#previewButton.disabled = this.#busy || !this.#filter;
    this.#applyButton.disabled = this.#busy || !count;
    this.#applyButton.textContent = count ? `Change ${this.format.count(count, "price")}` : "Change prices";
    find("#bulk-hint").hidden = Boolean(count);
    find(".outcome", this.#dialog).classList.toggle("is-old", this.#preview !== undefined && count === undefined);
  }

  async #runPreview() {
    const body = this.#body;
    const result = await this.#send(`${PATH}?dry_run=true`, body);
    this.#preview = { body: JSON.stringify(body), changed: result.changed };
    const { format } = this;
    setText(find(".outcome", this.#dialog), result.changed === 0
      ? `${format.count(result.matched, "product")} found. No prices would change.`
      : `${format.count(result.matched, "product")} found. ${format.count(result.changed, "price")} would change, on ${format.pages(result.pages)}. Nothing has been changed yet.`);
  }

  async #change() {
    const result = await this.#send(PATH, this.#body);
    this.#preview = undefined;
    const text = `Changed ${this.format.count(result.changed, "price")} of ${this.format.count(result.matched, "product")}, on ${this.format.pages(result.pages)}.`;
    setText(find(".outcome", this.#dialog), text);
    this.notify(text);
  }

  /**
   * @param {string} path
   * @param {object} body
   * @returns {Promise<Repriced>}
   */
  #send(path, body) {
    return this.api.change("POST", path, { body });
  }

  /** @param {() => Promise<void>} action */
  async #attempt(action) {
    if (this.#busy || !this.#filter) return;
    const focused = document.activeElement;
    this.#busy = true;
    setText(find(".problem", this.#dialog), "");
    this.#render();
    try {
      if (!/^[+-]?\d{1,4}(\.\d{1,4})?$/.test(parseDecimal(this.#inputs.percent.value))) {
        throw new Problem(422, "", { fields: { percent: "must be a number, such as -10 or 2.5" } });
      }
      await action();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#showProblem(error);
    } finally {
      this.#busy = false;
      this.#render();
      const next = this.#applyButton.disabled ? this.#inputs.percent : this.#applyButton;
      if (focused instanceof HTMLButtonElement && focused.disabled || document.activeElement === document.body) next.focus();
    }
  }

  /** @param {Problem} problem */
  #showProblem(problem) {
    const errors = formatErrors(problem.fields).join(" ");
    setNote(this.#inputs.percent, problem.fields.percent ? errors : "", Boolean(problem.fields.percent));
    const uncertain = problem.uncertain && problem.status !== 429 ? " It is not certain that the prices were changed. You can safely try again: they will not be changed twice." : "";
    setText(find(".problem", this.#dialog), (errors || problem.message) + uncertain);
    this.#inputs.percent.focus();
  }
}
