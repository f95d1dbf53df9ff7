// A clock and a network for the tests of the client.

import { setImmediate } from "node:timers/promises";

/** A clock that runs when the test says so. */
export class Clock {
  now = 0;
  timers = new Map();
  last = 0;
  later = (f, ms) => { this.timers.set(++this.last, { f, at: this.now + ms }); return this.last; };
  cancel = (timer) => { this.timers.delete(timer); };
  run(ms) {
    const end = this.now + ms;
    for (;;) {
      const due = [...this.timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
      if (!due) break;
      this.timers.delete(due[0]);
      this.now = due[1].at;
      due[1].f();
    }
    this.now = end;
  }
  delays() { return [...this.timers.values()].map((t) => t.at - this.now); }
}

/** Waits until the callbacks of settled promises have run. */
export const settled = () => setImmediate();

/** A WebSocket whose events come from the test. */
export class Socket {
  sent = [];
  readyState = 0;
  #open;
  constructor(url) { this.url = url; }
  get onopen() { return this.#open; }
  set onopen(f) { this.#open = f && (() => { this.readyState = 1; f(); }); }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }
  receive(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  watched() { return this.sent.flatMap((f) => f.watch ?? []); }
  pings() { return this.sent.filter((f) => f.ping).length; }
}

/** An EventSource whose events come from the test. */
export class Source {
  constructor(url) { this.url = url; }
  close() { this.closed = true; }
  receive(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
}

/** A network that records what was opened and requested, newest last. */
export class Network {
  clock = new Clock();
  sockets = [];
  sources = [];
  requests = [];
  random = 1;
  /** @type {(url: URL) => any} returns the body, a status, or undefined if the network is down */
  answer = () => undefined;
  env = (({ clock, sockets, sources }, self = this) => ({
    WebSocket: class extends Socket { constructor(url) { super(url); sockets.push(this); } },
    EventSource: class extends Source { constructor(url) { super(url); sources.push(this); } },
    async fetch(url) {
      self.requests.push(url.replace("http://shop.test", ""));
      const answer = await self.answer(new URL(url));
      if (answer === undefined) throw new TypeError("the network is down");
      const status = answer.status ?? (typeof answer === "number" ? answer : 200);
      return { ok: status < 400, status, headers: new Headers(answer.headers), text: async () => JSON.stringify(answer) };
    },
    Math: { random: () => self.random },
    setTimeout: clock.later,
    clearTimeout: clock.cancel,
  }))(this);
}
