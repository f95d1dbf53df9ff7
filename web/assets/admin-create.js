// Makes a new product.

import { Problem } from "./admin-api.js";
import { fieldsOf, open, remark, say, the, valueOf } from "./admin-dom.js";
import { broken, sent } from "./admin-draft.js";
import { sentences } from "./admin-words.js";

/** @typedef {import("./admin-api.js").Product} Product */

export class Create {
  #dialog = /** @type {HTMLDialogElement} */ (the("#create"));
  #form = /** @type {HTMLFormElement} */ (the("form", this.#dialog));
  #fields = fieldsOf(this.#form);
  #busy = false;

  /**
   * @param {Pick<import("./admin-api.js").Api, "change">} api
   * @param {(made: Product) => void} made
   */
  constructor(api, made) {
    this.api = api;
    this.made = made;
    for (const field of Object.values(this.#fields)) field.addEventListener("input", () => remark(field, "", false));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#make();
    });
  }

  /**
   * What was typed before and not made is still there.
   * @param {string} currency of the shop, as far as it is known
   */
  show(currency) {
    if (!this.#fields.currency.value) this.#fields.currency.value = currency;
    open(this.#dialog);
  }

  async #make() {
    if (this.#busy) return;
    this.#busy = true;
    this.#refuse(new Problem(0, ""));
    const values = Object.fromEntries(Object.entries(this.#fields).map(([name, field]) => [name, valueOf(field)]));
    try {
      const fields = broken(values, ["price", "compare_at_price", "stock"]);
      for (const name of ["title", "sku", "currency"]) if (String(values[name]).trim() === "") fields[name] = "is required";
      if (Object.keys(fields).length > 0) throw new Problem(422, "", { fields });
      const body = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, sent(name, value)]));
      const made = await this.api.change("POST", "/products", { body: { ...body, currency: String(body.currency).toUpperCase() } });
      this.#form.reset();
      this.#dialog.close();
      this.made(made);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#refuse(error);
    } finally {
      this.#busy = false;
    }
  }

  /** @param {Problem} problem */
  #refuse({ fields, message, type }) {
    const wrong = type === "duplicate-sku" ? { sku: "is another product's" } : fields;
    for (const [name, field] of Object.entries(this.#fields)) {
      remark(field, sentences(name in wrong ? { [name]: /** @type {Record<string, string>} */ (wrong)[name] } : {}).join(" "), name in wrong);
    }
    say(the(".problem", this.#dialog), sentences(wrong).join(" ") || message);
    /** @type {HTMLElement | null} */ (this.#form.querySelector("[aria-invalid]"))?.focus();
  }
}
