// The socket: says what the page shows, hands over what comes, and comes back
// when it is lost.

/**
 * @typedef {import("./page.js").Shown} Shown
 * @typedef {import("./page.js").Fragment} Fragment
 */

/**
 * What a Live needs of a page. Page is one.
 * @typedef {object} Shows
 * @property {() => Shown[]} shown
 * @property {(fragments: Fragment[]) => Fragment[]} take has those that the page shows now, and did not before
 */

/**
 * Its surroundings, so that a test can be them.
 * @typedef {object} Env
 * @property {() => WebSocket} open
 * @property {() => number} random as Math.random
 * @property {(f: () => void, ms: number) => any} later
 * @property {(timer: any) => void} cancel
 * @property {(status: "connecting" | "live" | "offline") => void} status
 * @property {boolean} tells the server is told when something is shown, for its measurements
 */

/** A session watches no more than this. */
export const MAX_PRODUCTS = 500;
/** A frame has fewer bytes than the server's 16 KiB; what we send is ASCII. */
export const MAX_FRAME = 12_000;

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
/** A connection that has been silent for as long, or up to twice as long, is asked whether it lives. */
const SILENCE = 30_000;
/** A connection that has not answered by then does not: a laptop has slept, or a network has gone, and nothing says so. */
const PATIENCE = 5_000;
/** A connection that lasts less was none: a server that accepts and closes is not to be hurried. */
const STEADY = 5_000;

export class Live {
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {any} */
  #retry;
  /** @type {any} */
  #steady;
  /** @type {any} */
  #watchdog;
  #failures = 0;
  #wanted = false;

  /**
   * @param {Shows} page
   * @param {Env} env
   */
  constructor(page, env) {
    this.page = page;
    this.env = env;
  }

  /** Connects, and stays connected until pause or close. */
  resume() {
    this.#wanted = true;
    this.#connect();
  }

  /** Disconnects until resume. */
  pause() {
    this.#wanted = false;
    this.lost();
  }

  /** Disconnects for good. */
  close() {
    this.pause();
  }

  /**
   * There is reason to think that it works now, or works no more: tries at
   * once, but not with everybody else, and asks a connection whether it lives.
   */
  hurry() {
    if (!this.#wanted) return;
    if (this.#socket) this.#probe();
    else this.#again(this.env.random() * FIRST_PAUSE);
  }

  /** The connection is gone, though it may not know. */
  lost() {
    const socket = this.#socket;
    if (!socket) return;
    this.#forget();
    socket.close();
    if (this.#wanted) this.#again(this.#pause());
  }

  #connect() {
    this.env.cancel(this.#retry);
    if (this.#socket || !this.#wanted) return;
    this.env.status("connecting");
    const socket = this.env.open();
    this.#socket = socket;
    socket.onopen = () => {
      this.env.status("live");
      this.#steady = this.env.later(() => {
        this.#failures = 0;
      }, STEADY);
      for (const frame of watchFrames(this.page.shown())) socket.send(frame);
      this.#alive();
    };
    socket.onmessage = (event) => {
      // What comes between close and the end of the connection may be older than
      // what the next one brought, or for a page that is gone.
      if (this.#socket !== socket) return;
      this.#alive();
      this.#receive(event.data);
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#forget();
      if (this.#wanted) this.#again(this.#pause());
    };
  }

  // The server's own pings are seen by the browser, and not by its scripts.
  #alive() {
    this.env.cancel(this.#watchdog);
    this.#watchdog = this.env.later(() => this.#probe(), SILENCE * (1 + this.env.random()));
  }

  #probe() {
    if (this.#socket?.readyState !== 1) return; // still connecting, which has an end of its own
    this.env.cancel(this.#watchdog);
    this.#socket.send('{"ping":1}');
    this.#watchdog = this.env.later(() => this.lost(), PATIENCE);
  }

  #forget() {
    this.env.cancel(this.#steady);
    this.env.cancel(this.#watchdog);
    this.#socket = undefined;
    this.env.status("offline");
  }

  /** @param {number} ms */
  #again(ms) {
    this.env.cancel(this.#retry);
    this.#retry = this.env.later(() => this.#connect(), ms);
  }

  // Anywhere between nothing and the cap ("full jitter"), so that a thousand
  // shoppers who lost one server do not knock on the next one together.
  #pause() {
    const cap = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.#failures++);
    return this.env.random() * cap;
  }

  /** @param {unknown} data */
  #receive(data) {
    const frame = parse(data);
    if (Array.isArray(frame?.fragments)) this.#take(frame.fragments);
    if (frame?.error) console.warn(`shelfcast: ${frame.error.code}: ${frame.error.message}`, frame.error.id ?? "");
  }

  /** @param {Fragment[]} fragments */
  #take(fragments) {
    const taken = this.page.take(fragments);
    if (!this.env.tells || taken.length === 0) return;
    this.#socket?.send(JSON.stringify({ applied: taken.map(({ id, version }) => ({ id, version })) }));
  }
}

/** @param {unknown} data */
function parse(data) {
  try {
    return JSON.parse(String(data));
  } catch {
    console.warn("shelfcast: a frame that is not JSON");
    return undefined;
  }
}

/**
 * The frames that watch all this, each within the server's limit.
 * @param {Shown[]} shown
 * @returns {string[]}
 */
export function watchFrames(shown) {
  if (shown.length > MAX_PRODUCTS) {
    console.warn(`shelfcast: of ${shown.length} products the first ${MAX_PRODUCTS} are watched`);
  }
  const frames = [];
  let some = [];
  let length = 0;
  for (const item of shown.slice(0, MAX_PRODUCTS)) {
    const text = JSON.stringify(item);
    if (length + text.length > MAX_FRAME) {
      frames.push(some);
      some = [];
      length = 0;
    }
    some.push(text);
    length += text.length + 1;
  }
  if (some.length > 0) frames.push(some);
  return frames.map((texts) => `{"watch":[${texts.join(",")}]}`);
}
