// Server-sent events out of a body that comes in pieces, cut anywhere.

/**
 * @typedef {object} Event
 * @property {string} data
 * @property {string} id the last that was named, by this event or one before
 */

export class Events {
  #decoder = new TextDecoder();
  #rest = "";
  #cr = false;
  /** @type {string[]} */
  #data = [];
  #id = "";
  /** The pause that the server asks for before its reader comes again, in milliseconds; 0: it did not. */
  retry = 0;

  /**
   * Takes the next piece.
   * @param {Uint8Array} piece
   * @returns {Event[]} those that it completes
   */
  push(piece) {
    let text = this.#decoder.decode(piece, { stream: true });
    const half = this.#cr && text.startsWith("\n"); // the other half of a line's end
    if (text) this.#cr = text.endsWith("\r");
    if (half) text = text.slice(1);
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = /** @type {string} */ (lines.pop());
    return lines.flatMap((line) => this.#line(line));
  }

  /**
   * @param {string} line
   * @returns {Event[]}
   */
  #line(line) {
    if (line === "") {
      const data = this.#data.splice(0);
      return data.length > 0 ? [{ data: data.join("\n"), id: this.#id }] : [];
    }
    const [, name, value] = /** @type {RegExpExecArray} */ (/^([^:]*)(?:: ?)?([^]*)$/.exec(line));
    if (name === "data") this.#data.push(value);
    if (name === "id" && !value.includes("\0")) this.#id = value;
    if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return [];
  }
}
