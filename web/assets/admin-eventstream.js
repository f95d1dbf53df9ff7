// A parser of server-sent events, for a body that arrives in arbitrary pieces.

/**
 * @typedef {object} Event
 * @property {string} data
 * @property {string} id the last event id, of this event or an earlier one
 */

export class EventParser {
  #decoder = new TextDecoder();
  #rest = "";
  #cr = false;
  /** @type {string[]} */
  #data = [];
  #id = "";
  /** The reconnection time that the server asks for, in milliseconds; 0: none. */
  retry = 0;

  /**
   * Parses the next piece.
   * @param {Uint8Array} piece
   * @returns {Event[]} the events that it completes
   */
  push(piece) {
    let text = this.#decoder.decode(piece, { stream: true });
    const secondHalf = this.#cr && text.startsWith("\n"); // of the line ending \r\n
    if (text) this.#cr = text.endsWith("\r");
    if (secondHalf) text = text.slice(1);
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
