import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { tabs } from "../client/tabs.js";
import { MAX_PRODUCTS } from "../client/limits.js";
import { Network, settled } from "./clock.js";

let net, socket, accept;

const item = (id, version, view = "card") => ({ id, version, view });
const fragment = (id, version, view = "card", more = {}) => ({ id, version, view, html: `<p>${id} ${version}</p>`, ...more });

/** A tab: what it was told, and what it shows. */
class Port {
  told = [];
  shows = [];
  constructor(join = {}) {
    accept(this);
    this.say({ join });
  }
  /** Shows these, too, or as something else. */
  want(...items) {
    this.shows = [...this.shows.filter((s) => !items.some((i) => i.id === s.id && i.view === s.view)), ...items];
    this.say({ want: this.shows });
  }
  /** Shows these no more. */
  drop(...items) {
    this.shows = this.shows.filter((s) => !items.some((i) => i.id === s.id && i.view === s.view));
    this.say({ want: this.shows });
  }
  postMessage(message) { this.told.push(structuredClone(message)); }
  say(message) { this.onmessage({ data: structuredClone(message) }); }
  fragments() { return this.told.splice(0).flatMap((m) => m.fragments ?? []); }
  frames() { return this.told.splice(0).filter((m) => m.fragments).map((m) => m.fragments); }
}

/** @param {string} mode */
function open(mode = "full", locks = undefined) {
  accept = tabs(`shelfcast.v1 ${mode} http://shop.test`, net.env, locks);
}

/** A tab that wants these, and a socket that is open. */
function joined(...want) {
  const port = new Port();
  port.want(...want);
  socket = net.sockets.at(-1);
  socket.onopen?.();
  socket.onopen = undefined;
  port.told.length = 0;
  return port;
}

const asked = async () => {
  await settled();
  return net.asked.splice(0).filter((url) => url.startsWith("/fragments"));
};
const said = () => socket.sent.splice(0);

beforeEach(() => {
  net = new Network();
  open();
});

test("two tabs share a connection, and each gets what it shows, in one message", () => {
  const a = joined(item(1, 10), item(2, 20));
  const b = joined(item(2, 20), item(2, 20, "detail"));
  assert.equal(net.sockets.length, 1);
  assert.deepEqual(socket.watched(), [item(1, 10), item(2, 20), item(2, 20, "detail")]);
  const news = [fragment(1, 11), fragment(2, 21), fragment(2, 21, "detail")];
  socket.say({ fragments: news });
  assert.deepEqual(a.frames(), [[news[0], news[1]]]);
  assert.deepEqual(b.frames(), [[news[1], news[2]]]);
});

test("a tab that comes is told how things stand", () => {
  joined(item(1, 10));
  assert.deepEqual(new Port().told, [{ status: "live" }]);
});

test("an older tab gets the fragment at once, and the tier hears nothing of it", async () => {
  joined(item(1, 10));
  socket.say({ fragments: [fragment(1, 12)] });
  said();
  const b = joined(item(1, 10));
  b.want(item(1, 11));
  assert.deepEqual(b.fragments(), [fragment(1, 12)]);
  assert.deepEqual(said(), []);
  assert.deepEqual(await asked(), []);
});

test("an older tab whose fragment nobody has gets it by HTTP", async () => {
  net.answer = () => fragment(1, 12);
  const a = joined(item(1, 12));
  said();
  const b = joined();
  b.want(item(1, 10));
  assert.deepEqual(await asked(), ["/fragments/card/1?v=12"]);
  assert.deepEqual(b.fragments(), [fragment(1, 12)]);
  assert.deepEqual(said(), []);
  const c = joined();
  c.want(item(1, 0));
  assert.deepEqual(c.fragments(), [fragment(1, 12)]);
  assert.deepEqual(a.fragments(), [fragment(1, 12)]); // shows it, and will not mind
});

test("a newer tab is said to the tier, and the others get that version by HTTP", async () => {
  net.answer = () => fragment(1, 15);
  const a = joined(item(1, 10));
  said();
  const b = joined();
  b.want(item(1, 15));
  assert.deepEqual(said(), [{ watch: [item(1, 15)] }]);
  assert.deepEqual(await asked(), ["/fragments/card/1?v=15"]);
  assert.deepEqual(a.fragments(), [fragment(1, 15)]);
});

test("a newer tab whose version was lost is reset, and no other gets to show it", async () => {
  const a = joined(item(1, 10), item(2, 20));
  const b = joined();
  let answer;
  net.answer = () => new Promise((resolve) => (answer = resolve));
  b.want(item(1, 15));
  await settled();
  const reset = fragment(1, 10, "card", { reset: true });
  socket.say({ fragments: [reset] });
  answer(fragment(1, 15)); // somebody on the way had kept it
  await settled();
  assert.deepEqual(b.fragments(), [reset]);
  assert.deepEqual(a.fragments(), [reset]);
  const c = joined();
  c.want(item(1, 9));
  assert.deepEqual(c.fragments(), [reset]);
});

test("what HTTP has newer than what the tier said is said to the tier", async () => {
  net.answer = () => fragment(1, 16);
  const a = joined(item(1, 10));
  const b = joined();
  b.want(item(1, 15));
  said();
  await settled();
  assert.deepEqual(said(), [{ watch: [item(1, 16)] }]);
  assert.deepEqual(a.fragments(), [fragment(1, 16)]);
  assert.deepEqual(b.fragments(), [fragment(1, 16)]);
});

test("the last tab to leave a product unwatches it; what is left of it in other views is watched again", () => {
  const a = joined(item(1, 10), item(1, 10, "detail"), item(2, 20));
  const b = joined(item(1, 10), item(2, 20));
  said();
  a.drop(item(1, 0), item(2, 0));
  assert.deepEqual(said(), []);
  b.drop(item(1, 0));
  assert.deepEqual(said(), [{ unwatch: [1] }, { watch: [item(1, 10, "detail")] }]);
  b.say({ bye: true });
  assert.deepEqual(said(), [{ unwatch: [2] }]);
  socket.say({ fragments: [fragment(1, 11), fragment(1, 11, "detail"), fragment(2, 21)] });
  assert.deepEqual(a.fragments(), [fragment(1, 11, "detail")]);
  assert.deepEqual(b.fragments(), []);
});

test("without tabs the connection is closed; the next page may come soon enough to have it", () => {
  const locks = { request: () => new Promise(() => {}) };
  open("full", locks);
  const a = joined(item(1, 10));
  a.say({ bye: true });
  net.clock.run(4_000);
  const b = joined(item(1, 10));
  net.clock.run(4_000);
  assert.ok(!socket.closed);
  b.say({ bye: true });
  net.clock.run(5_000);
  assert.ok(socket.closed);
  net.clock.run(60_000);
  assert.equal(net.sockets.length, 1);
  joined(item(1, 10));
  assert.equal(net.sockets.length, 2);
});

test("a page of its own has no connection once it has left", () => {
  joined(item(1, 10)).say({ bye: true });
  assert.ok(socket.closed);
  assert.equal(net.clock.timers.size, 0);
});

test("a tab that died is found by its lock", async () => {
  /** @type {Map<string, Function>} */
  const waiting = new Map();
  open("full", { request: (name, f) => new Promise(() => waiting.set(name, f)) });
  new Port({ lock: "a" }).want(item(1, 10));
  const b = new Port({ lock: "b" });
  b.want(item(1, 10), item(2, 20));
  socket = net.sockets[0];
  socket.onopen();
  assert.match(b.told[0].lock, /^shelfcast.v1 full http:\/\/shop.test /);
  said();
  waiting.get("b")();
  assert.deepEqual(said(), [{ unwatch: [2] }]);
  waiting.get("b")();
  waiting.get("a")();
  assert.deepEqual(said(), [{ unwatch: [1] }]);
});

test("after a loss the tier is told the newest of all tabs", () => {
  joined(item(1, 10), item(2, 20));
  joined(item(2, 20), item(3, 30));
  socket.say({ fragments: [fragment(2, 22)] });
  socket.onclose();
  net.clock.run(1_000);
  net.sockets[1].onopen();
  assert.deepEqual(net.sockets[1].watched(), [item(1, 10), item(2, 22), item(3, 30)]);
});

test("a session is told of as much as it may watch, and of the rest when there is room", () => {
  const many = Array.from({ length: MAX_PRODUCTS + 10 }, (_, n) => item(n + 1, 1));
  const a = joined(...many.slice(0, 300));
  joined(...many.slice(300));
  assert.deepEqual(socket.watched(), many.slice(0, MAX_PRODUCTS));
  said();
  a.drop(...many.slice(0, 4));
  assert.deepEqual(said(), [{ unwatch: [1, 2, 3, 4] }, { watch: many.slice(MAX_PRODUCTS, MAX_PRODUCTS + 4) }]);
});

test("one tab's mistake is not all tabs': what the tier hangs up on is not said again", () => {
  const a = joined(item(1, 10), item(2, 20));
  socket.say({ fragments: [fragment(1, 11)] });
  const b = joined();
  b.want(item(1, 0, "cart"));
  socket.say({ error: { code: "unknown_view", message: "no", id: 1 } });
  socket.onclose();
  net.clock.run(1_000);
  net.sockets[1].onopen();
  assert.deepEqual(net.sockets[1].watched(), [item(1, 11), item(2, 20)]);
  assert.equal(a.told.filter((m) => m.error).length, 1);
});

test("what a page says it shows goes to the tier", () => {
  const a = joined(item(1, 10));
  said();
  a.say({ applied: [{ id: 1, version: 11 }] });
  assert.deepEqual(said(), [{ applied: [{ id: 1, version: 11 }] }]);
});

test("which transport works here is told to all tabs, and where a visit has found it the worker begins", async () => {
  net.answer = () => ({ fragments: [] });
  const a = joined(item(1, 10));
  open();
  const b = new Port({ via: 1 });
  b.want(item(1, 10));
  net.clock.run(0);
  assert.equal(net.sockets.length, 1);
  assert.match(net.sources[0].url, /live\/sse\?watch=1:10:card$/);
  net.sources[0].onopen();
  net.clock.run(5_000);
  await settled();
  assert.equal(b.told.at(-1).via ?? b.told.at(-2).via, 2);
  assert.equal(a.told.length, 0);
});

test("notify: up to two changes have an address each, more have one together, sorted", async () => {
  open("notify");
  net.answer = (url) => (url.pathname === "/fragments"
    ? { fragments: url.searchParams.get("ids").split(",").map((text) => text.split(":")).map(([id, v, view]) => fragment(Number(id), Number(v), view)) }
    : fragment(Number(url.pathname.split("/")[3]), Number(url.searchParams.get("v")), url.pathname.split("/")[2]));
  const a = joined(item(10, 1), item(9, 1), item(9, 1, "detail"), item(8, 1));
  assert.equal(socket.url, "ws://shop.test/live?mode=notify&");
  socket.say({ changed: [item(9, 2), item(8, 2)] });
  assert.deepEqual(await asked(), ["/fragments/card/8?v=2", "/fragments/card/9?v=2"]);
  assert.deepEqual(a.fragments().map((f) => f.id).sort(), [8, 9]);
  socket.say({ changed: [item(9, 3, "detail"), item(10, 3), item(9, 3)] });
  assert.deepEqual(await asked(), ["/fragments?ids=9:3:card,10:3:card,9:3:detail"]);
  assert.deepEqual(a.fragments().map((f) => f.version), [3, 3, 3]);
});

test("notify: a request has at most a hundred, and none is forgotten", async () => {
  open("notify");
  net.answer = (url) => ({ fragments: (url.searchParams.get("ids") ?? "").split(",").map((text) => fragment(Number(text.split(":")[0]), 2)) });
  const many = Array.from({ length: 250 }, (_, n) => item(n + 1, 1));
  const a = joined(...many);
  socket.say({ changed: many.map(({ id }) => item(id, 2)) });
  for (let n = 0; n < 3; n++) {
    await settled();
    net.clock.run(0);
  }
  const requests = await asked();
  assert.deepEqual(requests.map((url) => url.split(",").length), [100, 100, 50]);
  assert.equal(a.fragments().length, 250);
});

test("notify: what fails is asked for again, with the newest version, until nobody wants it", async () => {
  open("notify");
  const a = joined(item(1, 1), item(2, 1));
  socket.say({ changed: [item(1, 2), item(2, 2)] });
  assert.equal((await asked()).length, 2);
  socket.say({ changed: [item(1, 3)] });
  net.clock.run(1_000);
  assert.deepEqual(await asked(), ["/fragments/card/1?v=3", "/fragments/card/2?v=2"]);
  a.drop(item(2, 0));
  net.answer = () => ({ status: 429, headers: { "Retry-After": "50" } });
  net.clock.run(2_000);
  assert.deepEqual(await asked(), ["/fragments/card/1?v=3"]);
  net.answer = () => fragment(1, 3);
  net.clock.run(50_000);
  assert.deepEqual(await asked(), []);
  net.clock.run(4_000);
  assert.deepEqual(await asked(), ["/fragments/card/1?v=3"]);
  assert.deepEqual(a.fragments(), [fragment(1, 3)]);
  net.clock.run(60_000);
  assert.deepEqual(await asked(), []);
});

test("notify: a product that is wrong does not take the others with it", async (t) => {
  t.mock.method(console, "warn", () => {});
  open("notify");
  net.answer = (url) => (url.pathname === "/fragments" || url.pathname.endsWith("/2") ? 404 : fragment(Number(url.pathname.split("/")[3]), 2));
  const a = joined(item(1, 1), item(2, 1), item(3, 1));
  socket.say({ changed: [item(1, 2), item(2, 2), item(3, 2)] });
  assert.equal((await asked()).length, 4);
  assert.deepEqual(a.fragments().map((f) => f.id), [1, 3]);
  net.clock.run(60_000);
  assert.deepEqual(await asked(), []);
});

test("notify: a reset is passed on", async () => {
  open("notify");
  net.answer = () => fragment(1, 5);
  const a = joined(item(1, 9), item(2, 9));
  socket.say({ changed: [{ ...item(1, 5), reset: true }] });
  await settled();
  assert.deepEqual(a.fragments(), [fragment(1, 5, "card", { reset: true })]);
});

test("notify: what an answer has no room for is asked for at once, and what there is not is not asked for again", async () => {
  open("notify");
  net.answer = (url) => {
    const list = url.searchParams.get("ids")?.split(",") ?? [];
    // Of four the second there is not, and two are as much as there is room for.
    if (list.length === 4) return { fragments: [fragment(1, 2)], next: 2 };
    return url.pathname === "/fragments" ? { fragments: list.map((text) => fragment(Number(text.split(":")[0]), 2)) } : fragment(Number(url.pathname.split("/")[3]), 2);
  };
  const a = joined(item(1, 1), item(2, 1), item(3, 1), item(4, 1));
  socket.say({ changed: [1, 2, 3, 4].map((id) => item(id, 2)) });
  await settled();
  net.clock.run(0);
  await settled();
  assert.deepEqual(await asked(), ["/fragments?ids=1:2:card,2:2:card,3:2:card,4:2:card", "/fragments/card/3?v=2", "/fragments/card/4?v=2"]);
  assert.deepEqual(a.fragments().map((f) => f.id), [1, 3, 4]);
  net.clock.run(60_000);
  assert.deepEqual(await asked(), []);
});
