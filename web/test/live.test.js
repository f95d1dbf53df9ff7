import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Live, MAX_FRAME, MAX_PRODUCTS, watchFrames } from "../assets/live.js";

/** A socket that the test opens, feeds and drops. */
class Socket {
  sent = [];
  readyState = 1;
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }
  watched() { return this.sent.flatMap((f) => f.watch ?? []); }
  pings() { return this.sent.filter((f) => f.ping).length; }
}

/** A clock that runs when the test says so. */
class Clock {
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

let sockets, clock, random, statuses, page, live, tells;

beforeEach(() => {
  sockets = [];
  clock = new Clock();
  random = 1;
  tells = false;
  statuses = [];
  page = {
    products: [{ id: 1, version: 10, view: "card" }, { id: 2, version: 20, view: "detail" }],
    taken: [],
    shown() { return this.products; },
    take(fragments) { this.taken.push(...fragments); return fragments.filter((f) => f.html !== "no"); },
  };
  live = new Live(page, {
    open: () => { sockets.push(new Socket()); return sockets.at(-1); },
    random: () => random,
    later: clock.later,
    cancel: clock.cancel,
    status: (s) => statuses.push(s),
    get tells() { return tells; },
  });
});

test("it watches what the page shows, and hands over what comes", () => {
  live.resume();
  sockets[0].onopen();
  assert.deepEqual(sockets[0].watched(), page.products);
  const fragments = [{ id: 1, version: 11, view: "card", html: "" }, { id: 2, version: 21, view: "detail", html: "" }];
  sockets[0].onmessage({ data: JSON.stringify({ fragments }) });
  sockets[0].onmessage({ data: "no JSON" });
  sockets[0].onmessage({ data: '{"something":"else"}' });
  assert.deepEqual(page.taken, fragments);
});

test("what a connection brings after it was given up is not taken", () => {
  const late = { data: JSON.stringify({ fragments: [{ id: 1, version: 5, view: "card", html: "", reset: true }] }) };
  live.resume();
  sockets[0].onopen();
  live.lost();
  clock.run(30_000);
  sockets[1].onopen();
  sockets[0].onmessage(late);
  live.close();
  sockets[1].onmessage(late);
  assert.deepEqual(page.taken, []);
  assert.equal(clock.timers.size, 0);
});

test("a page of the sample tells what it shows now, and no other does", () => {
  live.resume();
  sockets[0].onopen();
  const say = (...fragments) => sockets[0].onmessage({ data: JSON.stringify({ fragments }) });
  say({ id: 1, version: 11, view: "card", html: "" });
  assert.deepEqual(sockets[0].sent.filter((f) => f.applied), []);
  tells = true;
  say({ id: 1, version: 12, view: "card", html: "" }, { id: 2, version: 21, view: "detail", html: "no" });
  say({ id: 2, version: 22, view: "detail", html: "no" });
  assert.deepEqual(sockets[0].sent.filter((f) => f.applied), [{ applied: [{ id: 1, version: 12 }] }]);
});

test("after a loss it watches anew, with what the page shows by then", () => {
  live.resume();
  sockets[0].onopen();
  page.products = [{ id: 1, version: 11, view: "card" }];
  sockets[0].onclose();
  clock.run(60_000);
  assert.equal(sockets.length, 2);
  sockets[1].onopen();
  assert.deepEqual(sockets[1].watched(), page.products);
  assert.deepEqual(statuses, ["connecting", "live", "offline", "connecting", "live"]);
});

test("the back-off is a random share of a cap that doubles up to 30 s", () => {
  live.resume();
  const caps = [];
  for (let i = 0; i < 9; i++) {
    sockets.at(-1).onclose();
    caps.push(clock.delays()[0]);
    clock.run(30_000);
  }
  assert.deepEqual(caps, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  random = 0.25;
  sockets.at(-1).onclose();
  assert.deepEqual(clock.delays(), [7500]);
});

test("a server that accepts and closes is not hurried; one that stays is forgiven", () => {
  live.resume();
  for (const cap of [500, 1000, 2000]) {
    sockets.at(-1).onopen();
    clock.run(100);
    sockets.at(-1).onclose();
    assert.deepEqual(clock.delays(), [cap]);
    clock.run(cap);
  }
  sockets.at(-1).onopen();
  clock.run(6000);
  sockets.at(-1).onclose();
  assert.deepEqual(clock.delays(), [500]);
});

test("hurry tries at once while disconnected, and not twice while connecting", () => {
  live.resume();
  sockets[0].readyState = 0;
  live.hurry();
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].pings(), 0);
  for (let i = 0; i < 8; i++) { sockets.at(-1).onclose(); clock.run(30_000); }
  const before = sockets.length;
  sockets.at(-1).onclose();
  random = 0.5;
  live.hurry();
  assert.deepEqual(clock.delays(), [250]);
  clock.run(250);
  assert.equal(sockets.length, before + 1);
});

test("a silent connection is asked whether it lives, and left when it does not", () => {
  random = 0;
  live.resume();
  sockets[0].onopen();
  clock.run(29_999);
  assert.equal(sockets[0].pings(), 0);
  clock.run(1);
  assert.equal(sockets[0].pings(), 1);
  sockets[0].onmessage({ data: '{"pong":1}' });
  clock.run(29_999); // it lives
  assert.equal(sockets.length, 1);
  clock.run(1);
  assert.equal(sockets[0].pings(), 2);
  clock.run(5000); // it does not
  assert.ok(sockets[0].closed);
  assert.equal(sockets.length, 2);
});

test("a page that comes back into view asks at once, and any frame is an answer", () => {
  live.resume();
  sockets[0].onopen();
  live.hurry();
  assert.equal(sockets[0].pings(), 1);
  sockets[0].onmessage({ data: '{"fragments":[]}' });
  clock.run(6000);
  assert.ok(!sockets[0].closed);
  live.hurry();
  clock.run(5000 + 500);
  assert.ok(sockets[0].closed);
  assert.equal(sockets.length, 2);
});

test("a closed one stays closed", () => {
  live.resume();
  sockets[0].onopen();
  live.close();
  assert.ok(sockets[0].closed);
  sockets[0].onclose();
  live.hurry();
  clock.run(120_000);
  assert.equal(sockets.length, 1);
});

test("a paused one comes back, and the old socket's end does not disturb the new one", () => {
  live.resume();
  sockets[0].onopen();
  live.pause();
  live.resume();
  sockets[1].onopen();
  sockets[0].onclose();
  clock.run(50_000);
  assert.equal(sockets.length, 2);
});

test("frames stay below the server's limit, and products below its number", (t) => {
  t.mock.method(console, "warn", () => {});
  const many = Array.from({ length: 700 }, (_, i) => ({ id: i + 1, version: 1795433536820389, view: "card" }));
  const frames = watchFrames(many);
  assert.ok(frames.length > 1);
  for (const f of frames) assert.ok(f.length < MAX_FRAME + 100, `${f.length}`);
  const watched = frames.flatMap((f) => JSON.parse(f).watch);
  assert.deepEqual(watched, many.slice(0, MAX_PRODUCTS));
  assert.equal(console.warn.mock.callCount(), 1);
  assert.deepEqual(watchFrames([]), []);
});
