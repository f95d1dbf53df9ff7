// A product in the list, and the actions on it.

import { Problem } from "./admin-api.js";
import { valueOf } from "./admin-dom.js";
import { Draft, patchOf, validate } from "./admin-draft.js";
import { formatErrors, formatRemoved } from "./admin-format.js";
import { formatEntryAuthor, RowView } from "./admin-row-view.js";

/** @typedef {import("./admin-api.js").Product} Product */

/**
 * What a row needs from the page.
 * @typedef {object} Context
 * @property {Pick<import("./admin-api.js").Api, "get" | "change">} api
 * @property {import("./admin-format.js").Formatter} format
 * @property {() => {key: string, writable: boolean}} caller who is signed in, and whether that token may change products
 * @property {(text: string) => void} notify
 * @property {(question: {title: string, text: string, yes: string}) => Promise<boolean>} confirm
 * @property {(product: Product) => void} showHistory
 * @property {() => void} onEdit something was typed or saved
 * @property {(row: Row, name: string, step: 1 | -1) => void} moveFocus to the same field of the next or previous row
 */

export class Row {
  #busy = false;
  #author = "";
  #problem = "";
  /** @type {Record<string, string>} */
  #errors = {};

  /**
   * @param {Product} product
   * @param {Context} context
   */
  constructor(product, context) {
    this.context = context;
    this.draft = new Draft(product);
    /** The newest version that is known to exist. */
    this.newest = product.version;
    this.view = new RowView(product.id, context.format);
    this.element = this.view.element;
    this.#listen();
    this.render();
  }

  get id() {
    return this.draft.product.id;
  }

  /** Reports whether a newer version than the one shown can be loaded. */
  get stale() {
    return this.newest > this.draft.product.version && !this.#busy;
  }

  get unsaved() {
    return this.draft.changed.length > 0;
  }

  #listen() {
    const { form, element, inputs } = this.view;
    for (const [name, input] of Object.entries(inputs)) {
      input.addEventListener("input", () => {
        delete this.#errors[name];
        this.draft.set(name, valueOf(input));
        this.render();
      });
      input.addEventListener("keydown", (event) => this.#onKey(/** @type {KeyboardEvent} */ (event), name));
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    /** @type {Record<string, () => void>} */
    const actions = {
      ".undo": () => this.revert(), ".mine": () => this.#keepMine(), ".theirs": () => this.#takeTheirs(),
      ".history": () => this.context.showHistory(this.draft.product), ".publish": () => this.#publish(), ".archive": () => this.#archive(),
    };
    for (const [selector, action] of Object.entries(actions)) element.querySelector(`button${selector}`)?.addEventListener("click", action);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {string} name
   */
  #onKey(event, name) {
    if (event.isComposing || event.altKey || event.shiftKey) return;
    const input = /** @type {import("./admin-dom.js").Input} */ (event.target);
    const multiline = input instanceof HTMLTextAreaElement;
    const modifier = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && (modifier || !multiline)) {
      event.preventDefault();
      void this.save();
    } else if (event.key === "Escape" && !modifier && this.unsaved) {
      event.preventDefault();
      this.revert(this.draft.changed.includes(name) ? [name] : undefined);
    } else if (!modifier && !multiline && !input.hasAttribute("list") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      this.context.moveFocus(this, name, event.key === "ArrowDown" ? 1 : -1);
    }
  }

  render() {
    this.view.render(this.draft, {
      writable: this.context.caller().writable, busy: this.#busy, errors: this.#errors, problem: this.#problem, author: this.#author,
    });
    this.context.onEdit();
  }

  /**
   * Discards edits.
   * @param {string[]} [names] all fields by default
   */
  revert(names) {
    this.draft.revert(names);
    this.#errors = {};
    this.#problem = "";
    this.render();
  }

  /** Saves the edited fields, and no others. */
  async save() {
    const { draft } = this;
    if (this.#busy || !this.unsaved) return;
    if (draft.conflict) return this.view.conflict.focus();
    const errors = validate(draft.values, draft.changed);
    if (Object.keys(errors).length > 0) return this.#showProblem(new Problem(422, "", { fields: errors }), true);
    const [body, typed] = [patchOf(draft), { ...draft.values }];
    await this.#attempt(async () => {
      const answer = await this.context.api.change("PATCH", `/products/${this.id}`, { body, version: draft.product.version });
      draft.saved(answer, typed);
      this.#problem = formatRemoved(answer);
      this.context.notify(`Saved “${draft.product.title}”.`);
    }, true);
  }

  async #keepMine() {
    const [name = "title"] = this.draft.conflict?.fields ?? [];
    this.draft.keepMine();
    this.view.inputs[name].focus();
    await this.save();
  }

  #takeTheirs() {
    const names = this.draft.conflict?.fields ?? [];
    this.draft.takeTheirs();
    this.#problem = "";
    this.render();
    this.view.highlight(names);
    this.view.inputs[names[0] ?? "title"].focus();
  }

  #publish() {
    const { published, title } = this.draft.product;
    return this.#post(published ? "unpublish" : "publish", published ? `“${title}” is hidden from shoppers.` : `“${title}” is published.`);
  }

  async #archive() {
    const { archived, title } = this.draft.product;
    if (archived) return this.#post("restore", `“${title}” is restored.`);
    const sure = await this.context.confirm({
      title: `Archive “${title}”?`, yes: "Archive",
      text: "It disappears from the shop at once, also from pages that are open now. Nothing is deleted: you can restore it.",
    });
    if (sure) await this.#post("archive", `“${title}” is archived.`);
  }

  /**
   * Calls an action of the API.
   * @param {string} action
   * @param {string} done
   */
  #post(action, done) {
    return this.#attempt(async () => {
      this.update(await this.context.api.change("POST", `/products/${this.id}/${action}`, { version: this.draft.product.version }));
      this.context.notify(done);
    });
  }

  /**
   * @param {() => Promise<void>} action
   * @param {boolean} [saves] the action saves the draft
   */
  async #attempt(action, saves = false) {
    if (this.#busy) return;
    this.#busy = true;
    this.#errors = {};
    this.#problem = "";
    this.render();
    try {
      await action();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.#showProblem(error, saves);
    } finally {
      this.#busy = false;
      this.render();
    }
  }

  /**
   * @param {Problem} problem
   * @param {boolean} saves
   */
  async #showProblem(problem, saves) {
    if (problem.status === 412) return this.#handleStale(saves);
    this.#errors = problem.fields;
    const errors = formatErrors(problem.fields);
    this.#problem = errors.length > 0 ? `Not saved. ${errors.join(" ")}` : problem.message;
    if (problem.uncertain && problem.status !== 429) this.#problem += " It is not certain that this was saved. What you typed is still here, and you can safely try again.";
    this.render();
    if (errors.length > 0) this.view.focusInvalid();
    if (problem.type === "archived") await this.refresh();
  }

  // Someone else saved a newer version. Merges it with the draft.
  /** @param {boolean} saves */
  async #handleStale(saves) {
    const fresh = await this.#load();
    if (!fresh) {
      this.#problem = "Someone else changed this product, and the current values could not be loaded. What you typed is still here.";
      return;
    }
    this.view.highlight(this.update(fresh, { refused: saves }));
    if (!this.draft.conflict) this.#problem = "Someone else changed this product. Check it, and try again.";
    else this.view.conflict.focus();
  }

  /** Loads the product again. @returns {Promise<string[] | undefined>} the changed fields, or undefined if it failed */
  async refresh() {
    const fresh = await this.#load();
    if (!fresh) return undefined;
    const { archived } = this.draft.product;
    const changed = this.update(fresh);
    this.view.highlight(changed);
    return archived === fresh.archived ? changed : [...changed, "archived"];
  }

  /** @returns {Promise<Product | undefined>} */
  async #load() {
    try {
      return await this.context.api.get(`/products/${this.id}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return undefined;
    }
  }

  /**
   * Takes over a loaded version of the product.
   * @param {Product} fresh
   * @param {{refused?: boolean}} [options] see Draft.merge
   * @returns {string[]} the changed fields
   */
  update(fresh, options) {
    const changed = this.draft.merge(fresh, options);
    this.newest = Math.max(this.newest, fresh.version);
    this.render();
    if (this.draft.conflict) void this.#findAuthor(fresh.version);
    return changed;
  }

  // Finds out who made the change. Programs that write to the database have no history entry.
  /** @param {number} version */
  async #findAuthor(version) {
    this.#author = "";
    try {
      const { entries: [newest] } = await this.context.api.get(`/products/${this.id}/history?limit=1`);
      if (this.draft.product.version !== version) return; // superseded by a newer call
      this.#author = newest?.version === version
        ? `${formatEntryAuthor(newest, this.context.caller().key)}, ${this.context.format.time(newest.made_at)}`
        : "a program that writes directly to the database";
      this.render();
    } catch (error) {
      if (!(error instanceof Problem)) throw error; // the name stays unknown
    }
  }
}
