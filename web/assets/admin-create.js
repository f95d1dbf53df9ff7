// The dialog that creates a product.

import { Problem } from "./admin-api.js";
import { find, openDialog, productInputs, setNote, setText, valueOf } from "./admin-dom.js";
import { toJSON, validate } from "./admin-draft.js";
import { CREATABLE, FIELDS, kindOf } from "./admin-fields.js";
import { formatErrors } from "./admin-format.js";

/** @typedef {import("./admin-api.js").Product} Product */

export class CreateDialog {
  #dialog = /** @type {HTMLDialogElement} */ (find("#create"));
  #form = /** @type {HTMLFormElement} */ (find("form", this.#dialog));
  #inputs = productInputs(this.#form, CREATABLE, (element) => find(".fields", this.#form).append(element));
  #busy = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "change">} api
   * @param {(product: Product) => void} onCreate
   */
  constructor(api, onCreate) {
    this.api = api;
    this.onCreate = onCreate;
    for (const field of Object.values(this.#inputs)) field.addEventListener("input", () => setNote(field, "", false));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#create();
    });
  }

  /**
   * Opens the dialog with what was typed before and not saved.
   * @param {string} currency the default
   */
  show(currency) {
    if (!this.#inputs.currency.value) this.#inputs.currency.value = currency;
    openDialog(this.#dialog);
  }

  async #create() {
    if (this.#busy) return;
    this.#busy = true;
    this.#showProblem(new Problem(0, ""));
    const values = Object.fromEntries(Object.entries(this.#inputs).map(([name, field]) => [name, valueOf(field)]));
    try {
      const fields = validate(values, CREATABLE);
      for (const name of CREATABLE) {
        if (FIELDS[name].required && kindOf(name) === "text" && String(values[name]).trim() === "") fields[name] = "is required";
      }
      if (Object.keys(fields).length > 0) throw new Problem(422, "", { fields });
      const body = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, toJSON(name, value)]));
      const product = await this.api.change("POST", "/products", { body: { ...body, currency: String(body.currency).toUpperCase() } });
      this.#form.reset();
      this.#dialog.close();
      this.onCreate(product);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#showProblem(error);
    } finally {
      this.#busy = false;
    }
  }

  /** @param {Problem} problem */
  #showProblem({ fields, message, type }) {
    const wrong = type === "duplicate-sku" ? { sku: "is already used by another product" } : fields;
    for (const [name, field] of Object.entries(this.#inputs)) {
      setNote(field, formatErrors(name in wrong ? { [name]: /** @type {Record<string, string>} */ (wrong)[name] } : {}).join(" "), name in wrong);
    }
    setText(find(".problem", this.#dialog), formatErrors(wrong).join(" ") || message);
    /** @type {HTMLElement | null} */ (this.#form.querySelector("[aria-invalid]"))?.focus();
  }
}
