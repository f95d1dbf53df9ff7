import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { createHub } from "../client/hub.js";
import { MAX_PRODUCTS } from "../client/limits.js";
import { Network, settled } from "./fakes.js";

let net, socket, accept;

const subscription = (id, version, view = "card") => ({ id, version, view });
const fragment = (id, version, view = "card", more = {}) => ({ id, version, view, html: `<p>${id} ${version}</p>`, ...more });

/** A page that records what it receives. */
class Page {
  received = [];
  subscriptions = [];
  constructor(join = {}) {
    accept(this);
    this.send({ join });
  }
  /** Subscribes to these, or changes their versions. */
  watch(...items) {
    this.subscriptions = [...this.subscriptions.filter((s) => !items.some((i) => i.id === s.id && i.view === s.view)), ...items];
    this.send({ watch: this.subscriptions });
  }
  /** Unsubscribes from these. */
  drop(...items) {
    this.subscriptions = this.subscriptions.filter((s) => !items.some((i) => i.id === s.id && i.view === s.view));
    this.send({ watch: this.subscriptions });
  }
  postMessage(message) { this.received.push(structuredClone(message)); }
  send(message) { this.onmessage({ data: structuredClone(message) }); }
  fragments() { return this.received.splice(0).flatMap((m) => m.fragments ?? []); }
  frames() { return this.received.splice(0).filter((m) => m.fragments).map((m) => m.fragments); }
}

/** @param {string} mode */
function open(mode = "full", locks = undefined) {
  accept = createHub(`shelfcast.v1 ${mode} http://shop.test`, net.env, locks);
}

/** Returns a page with these subscriptions, and opens its socket. */
function join(...subscriptions) {
  const page = new Page();
  page.watch(...subscriptions);
  socket = net.sockets.at(-1);
  socket.onopen?.();
  socket.onopen = undefined;
  page.received.length = 0;
  return page;
}

const fetched = async () => {
  await settled();
  return net.requests.splice(0).filter((url) => url.startsWith("/fragments"));
};
const sent = () => socket.sent.splice(0);

beforeEach(() => {
  net = new Network();
  open();
});

test("pages share a connection, and each gets its own fragments in one message", () => {
  const a = join(subscription(1, 10), subscription(2, 20));
  const b = join(subscription(2, 20), subscription(2, 20, "detail"));
  assert.equal(net.sockets.length, 1);
  assert.deepEqual(socket.watched(), [subscription(1, 10), subscription(2, 20), subscription(2, 20, "detail")]);
  const news = [fragment(1, 11), fragment(2, 21), fragment(2, 21, "detail")];
  socket.receive({ fragments: news });
  assert.deepEqual(a.frames(), [[news[0], news[1]]]);
  assert.deepEqual(b.frames(), [[news[1], news[2]]]);
});

test("tells a page that joins the current status", () => {
  join(subscription(1, 10));
  assert.deepEqual(new Page().received, [{ status: "live" }]);
});

test("sends a page with an older version the kept fragment, without asking the server", async () => {
  join(subscription(1, 10));
  socket.receive({ fragments: [fragment(1, 12)] });
  sent();
  const b = join(subscription(1, 10));
  b.watch(subscription(1, 11));
  assert.deepEqual(b.fragments(), [fragment(1, 12)]);
  assert.deepEqual(sent(), []);
  assert.deepEqual(await fetched(), []);
});

test("fetches the fragment for a page with an older version", async () => {
  net.answer = () => fragment(1, 12);
  const a = join(subscription(1, 12));
  sent();
  const b = join();
  b.watch(subscription(1, 10));
  assert.deepEqual(await fetched(), ["/fragments/card/1?v=12"]);
  assert.deepEqual(b.fragments(), [fragment(1, 12)]);
  assert.deepEqual(sent(), []);
  const c = join();
  c.watch(subscription(1, 0));
  assert.deepEqual(c.fragments(), [fragment(1, 12)]);
  assert.deepEqual(a.fragments(), [fragment(1, 12)]); // which already shows it, and ignores it
});

test("a page with a newer version: subscribes at it, and fetches its fragment for the others", async () => {
  net.answer = () => fragment(1, 15);
  const a = join(subscription(1, 10));
  sent();
  const b = join();
  b.watch(subscription(1, 15));
  assert.deepEqual(sent(), [{ watch: [subscription(1, 15)] }]);
  assert.deepEqual(await fetched(), ["/fragments/card/1?v=15"]);
  assert.deepEqual(a.fragments(), [fragment(1, 15)]);
});

test("a lost version is reset in the page that shows it, and never reaches others", async () => {
  const a = join(subscription(1, 10), subscription(2, 20));
  const b = join();
  let answer;
  net.answer = () => new Promise((resolve) => (answer = resolve));
  b.watch(subscription(1, 15));
  await settled();
  const reset = fragment(1, 10, "card", { reset: true });
  socket.receive({ fragments: [reset] });
  answer(fragment(1, 15)); // from a cache
  await settled();
  assert.deepEqual(b.fragments(), [reset]);
  assert.deepEqual(a.fragments(), [reset]);
  const c = join();
  c.watch(subscription(1, 9));
  assert.deepEqual(c.fragments(), [reset]);
});

test("subscribes again when HTTP brings a newer version than the server has announced", async () => {
  net.answer = () => fragment(1, 16);
  const a = join(subscription(1, 10));
  const b = join();
  b.watch(subscription(1, 15));
  sent();
  await settled();
  assert.deepEqual(sent(), [{ watch: [subscription(1, 16)] }]);
  assert.deepEqual(a.fragments(), [fragment(1, 16)]);
  assert.deepEqual(b.fragments(), [fragment(1, 16)]);
});

test("unsubscribes when the last page drops a product, and subscribes again to its other views", () => {
  const a = join(subscription(1, 10), subscription(1, 10, "detail"), subscription(2, 20));
  const b = join(subscription(1, 10), subscription(2, 20));
  sent();
  a.drop(subscription(1, 0), subscription(2, 0));
  assert.deepEqual(sent(), []);
  b.drop(subscription(1, 0));
  assert.deepEqual(sent(), [{ unwatch: [1] }, { watch: [subscription(1, 10, "detail")] }]);
  b.send({ close: true });
  assert.deepEqual(sent(), [{ unwatch: [2] }]);
  socket.receive({ fragments: [fragment(1, 11), fragment(1, 11, "detail"), fragment(2, 21)] });
  assert.deepEqual(a.fragments(), [fragment(1, 11, "detail")]);
  assert.deepEqual(b.fragments(), []);
});

test("a shared connection stays open for 5 s without pages, for the next one", () => {
  const locks = { request: () => new Promise(() => {}) };
  open("full", locks);
  const a = join(subscription(1, 10));
  a.send({ close: true });
  net.clock.run(4_000);
  const b = join(subscription(1, 10));
  net.clock.run(4_000);
  assert.ok(!socket.closed);
  b.send({ close: true });
  net.clock.run(5_000);
  assert.ok(socket.closed);
  net.clock.run(60_000);
  assert.equal(net.sockets.length, 1);
  join(subscription(1, 10));
  assert.equal(net.sockets.length, 2);
});

test("an unshared connection closes as soon as the page leaves", () => {
  join(subscription(1, 10)).send({ close: true });
  assert.ok(socket.closed);
  assert.equal(net.clock.timers.size, 0);
});

test("drops the subscriptions of a page that died without leaving", async () => {
  /** @type {Map<string, Function>} */
  const waiting = new Map();
  open("full", { request: (name, f) => new Promise(() => waiting.set(name, f)) });
  new Page({ lock: "a" }).watch(subscription(1, 10));
  const b = new Page({ lock: "b" });
  b.watch(subscription(1, 10), subscription(2, 20));
  socket = net.sockets[0];
  socket.onopen();
  assert.match(b.received[0].lock, /^shelfcast.v1 full http:\/\/shop.test /);
  sent();
  waiting.get("b")();
  assert.deepEqual(sent(), [{ unwatch: [2] }]);
  waiting.get("b")();
  waiting.get("a")();
  assert.deepEqual(sent(), [{ unwatch: [1] }]);
});

test("after a reconnect it subscribes at the newest version of all pages", () => {
  join(subscription(1, 10), subscription(2, 20));
  join(subscription(2, 20), subscription(3, 30));
  socket.receive({ fragments: [fragment(2, 22)] });
  socket.onclose();
  net.clock.run(1_000);
  net.sockets[1].onopen();
  assert.deepEqual(net.sockets[1].watched(), [subscription(1, 10), subscription(2, 22), subscription(3, 30)]);
});

test("subscribes up to the session's limit, and to the rest when there is room", () => {
  const many = Array.from({ length: MAX_PRODUCTS + 10 }, (_, n) => subscription(n + 1, 1));
  const a = join(...many.slice(0, 300));
  join(...many.slice(300));
  assert.deepEqual(socket.watched(), many.slice(0, MAX_PRODUCTS));
  sent();
  a.drop(...many.slice(0, 4));
  assert.deepEqual(sent(), [{ unwatch: [1, 2, 3, 4] }, { watch: many.slice(MAX_PRODUCTS, MAX_PRODUCTS + 4) }]);
});

test("does not repeat an invalid subscription for which the server closed the session", () => {
  const a = join(subscription(1, 10), subscription(2, 20));
  socket.receive({ fragments: [fragment(1, 11)] });
  const b = join();
  b.watch(subscription(1, 0, "cart"));
  socket.receive({ error: { code: "unknown_view", message: "no", id: 1 } });
  socket.onclose();
  net.clock.run(1_000);
  net.sockets[1].onopen();
  assert.deepEqual(net.sockets[1].watched(), [subscription(1, 11), subscription(2, 20)]);
  assert.equal(a.received.filter((m) => m.error).length, 1);
});

test("passes on which versions a page shows", () => {
  const a = join(subscription(1, 10));
  sent();
  a.send({ applied: [{ id: 1, version: 11 }] });
  assert.deepEqual(sent(), [{ applied: [{ id: 1, version: 11 }] }]);
});

test("tells pages when the transport changes, and begins with the transport of the visit", async () => {
  net.answer = () => ({ fragments: [] });
  const a = join(subscription(1, 10));
  open();
  const b = new Page({ transport: "EventSource" });
  b.watch(subscription(1, 10));
  net.clock.run(0);
  assert.equal(net.sockets.length, 1);
  assert.match(net.sources[0].url, /live\/sse\?watch=1:10:card$/);
  net.sources[0].onopen();
  net.clock.run(5_000);
  await settled();
  assert.equal(b.received.at(-1).transport ?? b.received.at(-2).transport, "fetch");
  assert.equal(a.received.length, 0);
});

test("notify: fetches up to two fragments by a URL each, and more by one sorted URL", async () => {
  open("notify");
  net.answer = (url) => (url.pathname === "/fragments"
    ? { fragments: url.searchParams.get("ids").split(",").map((text) => text.split(":")).map(([id, v, view]) => fragment(Number(id), Number(v), view)) }
    : fragment(Number(url.pathname.split("/")[3]), Number(url.searchParams.get("v")), url.pathname.split("/")[2]));
  const a = join(subscription(10, 1), subscription(9, 1), subscription(9, 1, "detail"), subscription(8, 1));
  assert.equal(socket.url, "ws://shop.test/live?mode=notify&");
  socket.receive({ changed: [subscription(9, 2), subscription(8, 2)] });
  assert.deepEqual(await fetched(), ["/fragments/card/8?v=2", "/fragments/card/9?v=2"]);
  assert.deepEqual(a.fragments().map((f) => f.id).sort(), [8, 9]);
  socket.receive({ changed: [subscription(9, 3, "detail"), subscription(10, 3), subscription(9, 3)] });
  assert.deepEqual(await fetched(), ["/fragments?ids=9:3:card,10:3:card,9:3:detail"]);
  assert.deepEqual(a.fragments().map((f) => f.version), [3, 3, 3]);
});

test("notify: a request has at most a hundred fragments, and none is left out", async () => {
  open("notify");
  net.answer = (url) => ({ fragments: (url.searchParams.get("ids") ?? "").split(",").map((text) => fragment(Number(text.split(":")[0]), 2)) });
  const many = Array.from({ length: 250 }, (_, n) => subscription(n + 1, 1));
  const a = join(...many);
  socket.receive({ changed: many.map(({ id }) => subscription(id, 2)) });
  for (let n = 0; n < 3; n++) {
    await settled();
    net.clock.run(0);
  }
  const requests = await fetched();
  assert.deepEqual(requests.map((url) => url.split(",").length), [100, 100, 50]);
  assert.equal(a.fragments().length, 250);
});

test("notify: repeats a failed request at the newest version, until no page wants it", async () => {
  open("notify");
  const a = join(subscription(1, 1), subscription(2, 1));
  socket.receive({ changed: [subscription(1, 2), subscription(2, 2)] });
  assert.equal((await fetched()).length, 2);
  socket.receive({ changed: [subscription(1, 3)] });
  net.clock.run(1_000);
  assert.deepEqual(await fetched(), ["/fragments/card/1?v=3", "/fragments/card/2?v=2"]);
  a.drop(subscription(2, 0));
  net.answer = () => ({ status: 429, headers: { "Retry-After": "50" } });
  net.clock.run(2_000);
  assert.deepEqual(await fetched(), ["/fragments/card/1?v=3"]);
  net.answer = () => fragment(1, 3);
  net.clock.run(50_000);
  assert.deepEqual(await fetched(), []);
  net.clock.run(4_000);
  assert.deepEqual(await fetched(), ["/fragments/card/1?v=3"]);
  assert.deepEqual(a.fragments(), [fragment(1, 3)]);
  net.clock.run(60_000);
  assert.deepEqual(await fetched(), []);
});

test("notify: one invalid product does not fail the others of a request", async (t) => {
  t.mock.method(console, "warn", () => {});
  open("notify");
  net.answer = (url) => (url.pathname === "/fragments" || url.pathname.endsWith("/2") ? 404 : fragment(Number(url.pathname.split("/")[3]), 2));
  const a = join(subscription(1, 1), subscription(2, 1), subscription(3, 1));
  socket.receive({ changed: [subscription(1, 2), subscription(2, 2), subscription(3, 2)] });
  assert.equal((await fetched()).length, 4);
  assert.deepEqual(a.fragments().map((f) => f.id), [1, 3]);
  net.clock.run(60_000);
  assert.deepEqual(await fetched(), []);
});

test("notify: passes on a reset", async () => {
  open("notify");
  net.answer = () => fragment(1, 5);
  const a = join(subscription(1, 9), subscription(2, 9));
  socket.receive({ changed: [{ ...subscription(1, 5), reset: true }] });
  await settled();
  assert.deepEqual(a.fragments(), [fragment(1, 5, "card", { reset: true })]);
});

test("notify: requests at once what a full response left out, and does not repeat what does not exist", async () => {
  open("notify");
  net.answer = (url) => {
    const list = url.searchParams.get("ids")?.split(",") ?? [];
    // Of four, the second does not exist, and the response is full after two.
    if (list.length === 4) return { fragments: [fragment(1, 2)], next: 2 };
    return url.pathname === "/fragments" ? { fragments: list.map((text) => fragment(Number(text.split(":")[0]), 2)) } : fragment(Number(url.pathname.split("/")[3]), 2);
  };
  const a = join(subscription(1, 1), subscription(2, 1), subscription(3, 1), subscription(4, 1));
  socket.receive({ changed: [1, 2, 3, 4].map((id) => subscription(id, 2)) });
  await settled();
  net.clock.run(0);
  await settled();
  assert.deepEqual(await fetched(), ["/fragments?ids=1:2:card,2:2:card,3:2:card,4:2:card", "/fragments/card/3?v=2", "/fragments/card/4?v=2"]);
  assert.deepEqual(a.fragments().map((f) => f.id), [1, 3, 4]);
  net.clock.run(60_000);
  assert.deepEqual(await fetched(), []);
});
