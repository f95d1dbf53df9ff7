// A product in the list, and what can be done with it.

import { Problem } from "./admin-api.js";
import { valueOf } from "./admin-dom.js";
import { broken, Draft, patchOf } from "./admin-draft.js";
import { authorOf, Face } from "./admin-face.js";
import { lost, sentences } from "./admin-words.js";

/** @typedef {import("./admin-api.js").Product} Product */

/**
 * What a row needs of the page.
 * @typedef {object} Desk
 * @property {Pick<import("./admin-api.js").Api, "get" | "change">} api
 * @property {import("./admin-words.js").Words} words
 * @property {() => {key: string, may: boolean}} self who is at the page, and whether he may change products
 * @property {(text: string) => void} notice
 * @property {(question: {title: string, text: string, yes: string}) => Promise<boolean>} ask
 * @property {(product: Product) => void} history
 * @property {() => void} touched something was typed, or saved
 * @property {(row: Row, name: string, step: 1 | -1) => void} step to the same field of another row
 */

export class Row {
  #busy = false;
  #by = "";
  #problem = "";
  /** @type {Record<string, string>} */
  #wrong = {};

  /**
   * @param {Product} product
   * @param {Desk} desk
   */
  constructor(product, desk) {
    this.desk = desk;
    this.draft = new Draft(product);
    /** The newest version that was heard of. */
    this.heard = product.version;
    this.face = new Face(product.id, desk.words);
    this.element = this.face.element;
    this.#listen();
    this.paint();
  }

  get id() {
    return this.draft.product.id;
  }

  /** The product has a newer version than the one shown, which may be fetched. */
  get behind() {
    return this.heard > this.draft.product.version && !this.#busy;
  }

  get unsaved() {
    return this.draft.changed.length > 0;
  }

  #listen() {
    const { form, element, fields } = this.face;
    for (const [name, field] of Object.entries(fields)) {
      field.addEventListener("input", () => {
        delete this.#wrong[name];
        this.draft.type(name, valueOf(field));
        this.paint();
      });
      field.addEventListener("keydown", (event) => this.#key(/** @type {KeyboardEvent} */ (event), name));
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    /** @type {Record<string, () => void>} */
    const acts = {
      ".back": () => this.putBack(), ".mine": () => this.#keepMine(), ".theirs": () => this.#takeTheirs(),
      ".history": () => this.desk.history(this.draft.product), ".publish": () => this.#publish(), ".archive": () => this.#archive(),
    };
    for (const [selector, act] of Object.entries(acts)) element.querySelector(`button${selector}`)?.addEventListener("click", act);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {string} name
   */
  #key(event, name) {
    if (event.isComposing || event.altKey || event.shiftKey) return;
    const field = /** @type {import("./admin-dom.js").Field} */ (event.target);
    const lines = field instanceof HTMLTextAreaElement;
    const held = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && (held || !lines)) {
      event.preventDefault();
      void this.save();
    } else if (event.key === "Escape" && !held && this.unsaved) {
      event.preventDefault();
      this.putBack(this.draft.changed.includes(name) ? [name] : undefined);
    } else if (!held && !lines && !field.hasAttribute("list") && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      this.desk.step(this, name, event.key === "ArrowDown" ? 1 : -1);
    }
  }

  paint() {
    this.face.paint(this.draft, {
      may: this.desk.self().may, busy: this.#busy, wrong: this.#wrong, problem: this.#problem, by: this.#by,
    });
    this.desk.touched();
  }

  /** @param {string[]} [names] all, if none are given */
  putBack(names) {
    this.draft.putBack(names);
    this.#wrong = {};
    this.#problem = "";
    this.paint();
  }

  /** Saves what was typed: that and nothing else. */
  async save() {
    const { draft } = this;
    if (this.#busy || !this.unsaved) return;
    if (draft.conflict) return this.face.conflict.focus();
    const wrong = broken(draft.values, draft.changed);
    if (Object.keys(wrong).length > 0) return this.#refuse(new Problem(422, "", { fields: wrong }), true);
    const [body, typed] = [patchOf(draft), { ...draft.values }];
    await this.#attempt(async () => {
      const answer = await this.desk.api.change("PATCH", `/products/${this.id}`, { body, version: draft.product.version });
      draft.saved(answer, typed);
      this.#problem = lost(answer);
      this.desk.notice(`Saved “${draft.product.title}”.`);
    }, true);
  }

  async #keepMine() {
    const [name = "title"] = this.draft.conflict?.fields ?? [];
    this.draft.keepMine();
    this.face.fields[name].focus();
    await this.save();
  }

  #takeTheirs() {
    const names = this.draft.conflict?.fields ?? [];
    this.draft.takeTheirs();
    this.#problem = "";
    this.paint();
    this.face.glow(names);
    this.face.fields[names[0] ?? "title"].focus();
  }

  #publish() {
    const { published, title } = this.draft.product;
    return this.#act(published ? "unpublish" : "publish", published ? `“${title}” is hidden from shoppers.` : `“${title}” is in the shop.`);
  }

  async #archive() {
    const { archived, title } = this.draft.product;
    if (archived) return this.#act("restore", `“${title}” can be edited again.`);
    const sure = await this.desk.ask({
      title: `Archive “${title}”?`, yes: "Archive",
      text: "It leaves the shop at once, on every page that is open. Nothing is deleted: it can be restored.",
    });
    if (sure) await this.#act("archive", `“${title}” is out of the shop.`);
  }

  /**
   * @param {string} deed
   * @param {string} done
   */
  #act(deed, done) {
    return this.#attempt(async () => {
      this.take(await this.desk.api.change("POST", `/products/${this.id}/${deed}`, { version: this.draft.product.version }));
      this.desk.notice(done);
    });
  }

  /**
   * @param {() => Promise<void>} act
   * @param {boolean} [saves] what was typed
   */
  async #attempt(act, saves = false) {
    if (this.#busy) return;
    this.#busy = true;
    this.#wrong = {};
    this.#problem = "";
    this.paint();
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      await this.#refuse(error, saves);
    } finally {
      this.#busy = false;
      this.paint();
    }
  }

  /**
   * @param {Problem} problem
   * @param {boolean} saves
   */
  async #refuse(problem, saves) {
    if (problem.status === 412) return this.#overtaken(saves);
    this.#wrong = problem.fields;
    const said = sentences(problem.fields);
    this.#problem = said.length > 0 ? `Not saved. ${said.join(" ")}` : problem.message;
    if (problem.open && problem.status !== 429) this.#problem += " Whether it was done is not known; what you typed is still here. Doing it again is safe.";
    this.paint();
    if (said.length > 0) this.face.toWrong();
    if (problem.type === "archived") await this.refresh();
  }

  // Somebody was faster. What was typed stays, and is held against the product
  // as it is now.
  /** @param {boolean} saves */
  async #overtaken(saves) {
    const fresh = await this.#fetch();
    if (!fresh) {
      this.#problem = "Somebody else has changed this product, and how cannot be read just now. What you typed is still here.";
      return;
    }
    this.face.glow(this.take(fresh, { refused: saves }));
    if (!this.draft.conflict) this.#problem = "Somebody else has changed this product meanwhile. Look at it, and try again.";
    else this.face.conflict.focus();
  }

  /** Fetches the product anew. @returns {Promise<string[] | undefined>} what has changed, or undefined if it did not come */
  async refresh() {
    const fresh = await this.#fetch();
    if (!fresh) return undefined;
    const { archived } = this.draft.product;
    const changed = this.take(fresh);
    this.face.glow(changed);
    return archived === fresh.archived ? changed : [...changed, "archived"];
  }

  /** @returns {Promise<Product | undefined>} */
  async #fetch() {
    try {
      return await this.desk.api.get(`/products/${this.id}`);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      return undefined;
    }
  }

  /**
   * The product is this now.
   * @param {Product} fresh
   * @param {{refused?: boolean}} [how] as for a draft
   * @returns {string[]} what has changed
   */
  take(fresh, how) {
    const changed = this.draft.meet(fresh, how);
    this.heard = Math.max(this.heard, fresh.version);
    this.paint();
    if (this.draft.conflict) void this.#attribute(fresh.version);
    return changed;
  }

  // Asks the history who it was. Another program's plain SQL has no entry there.
  /** @param {number} version */
  async #attribute(version) {
    this.#by = "";
    try {
      const { entries: [newest] } = await this.desk.api.get(`/products/${this.id}/history?limit=1`);
      if (this.draft.product.version !== version) return; // it has changed again, and that is asked for
      this.#by = newest?.version === version
        ? `${authorOf(newest, this.desk.self().key)}, ${this.desk.words.when(newest.made_at)}`
        : "a program that writes to the database itself";
      this.paint();
    } catch (error) {
      if (!(error instanceof Problem)) throw error; // then it is said without a name
    }
  }
}
