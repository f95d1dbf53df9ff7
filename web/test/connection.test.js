import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { createConnection } from "../client/connection.js";
import { Network, settled } from "./fakes.js";

let net, clock, sockets, statuses, changes, products, received, connection;

const subscription = (id, version, view = "card") => ({ id, version, view });
const start = (env = net.env) =>
  createConnection(env, (path) => `http://shop.test${path}?`, {
    subscriptions: () => [...products],
    receive: (frame) => received.push(frame),
    report({ status, transport }) {
      if (status) statuses.push(status);
      if (transport) changes.push(transport);
    },
  });

beforeEach(() => {
  net = new Network();
  ({ clock, sockets } = net);
  [statuses, changes, received] = [[], [], []];
  products = [subscription(1, 10), subscription(2, 20, "detail")];
  connection = start();
});

/** Lets this many attempts fail. */
async function fail(times) {
  for (let n = 0; n < times; n++) {
    sockets.at(-1).onclose();
    await settled();
    runNext();
    await settled();
  }
}

/** Runs the clock to the next timer. */
const runNext = () => clock.run(Math.min(...clock.delays()));

test("subscribes to all products when it opens, and passes frames on", (t) => {
  t.mock.method(console, "warn", () => {});
  connection.resume();
  assert.equal(sockets[0].url, "ws://shop.test/live?");
  sockets[0].onopen();
  assert.deepEqual(sockets[0].watched(), products);
  const frames = [{ fragments: [{ id: 1, version: 11, view: "card", html: "" }] }, { something: "else" }];
  sockets[0].receive(frames[0]);
  sockets[0].onmessage({ data: "no JSON" });
  sockets[0].receive(frames[1]);
  assert.deepEqual(received, frames);
});

test("ignores frames of a closed connection", () => {
  connection.resume();
  sockets[0].onopen();
  connection.offline();
  runNext();
  sockets[1].onopen();
  sockets[0].receive({ fragments: [{ id: 1, version: 5, reset: true }] });
  connection.pause();
  sockets[1].receive({ fragments: [{ id: 1, version: 5, reset: true }] });
  assert.deepEqual(received, []);
  assert.equal(clock.timers.size, 0);
});

test("after a reconnect it sends the current subscriptions", () => {
  connection.resume();
  sockets[0].onopen();
  products = [subscription(1, 11)];
  sockets[0].onclose();
  runNext();
  assert.equal(sockets.length, 2);
  sockets[1].onopen();
  assert.deepEqual(sockets[1].watched(), products);
  assert.deepEqual(statuses, ["connecting", "live", "offline", "connecting", "live"]);
});

test("the back-off is a random share of a bound that doubles up to 30 s", () => {
  connection.resume();
  const caps = [];
  for (let i = 0; i < 9; i++) {
    sockets.at(-1).onclose();
    caps.push(Math.min(...clock.delays()));
    clock.run(caps[i]);
  }
  assert.deepEqual(caps, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
  net.random = 0.25;
  sockets.at(-1).onclose();
  assert.deepEqual(clock.delays(), [7500]);
});

test("the back-off grows when the server accepts and closes, and starts again after a stable connection", () => {
  connection.resume();
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

test("online() reconnects soon while disconnected, and does nothing while connecting", () => {
  connection.resume();
  sockets[0].readyState = 0;
  connection.online();
  assert.equal(sockets.length, 1);
  assert.equal(sockets[0].pings(), 0);
  for (let i = 0; i < 8; i++) { sockets.at(-1).onclose(); clock.run(Math.min(...clock.delays())); }
  const before = sockets.length;
  sockets.at(-1).onclose();
  net.random = 0.5;
  connection.online();
  assert.deepEqual(clock.delays(), [250]);
  clock.run(250);
  assert.equal(sockets.length, before + 1);
});

test("pings an idle connection, and reconnects without an answer", () => {
  net.random = 0;
  connection.resume();
  sockets[0].onopen();
  clock.run(29_999);
  assert.equal(sockets[0].pings(), 0);
  clock.run(1);
  assert.equal(sockets[0].pings(), 1);
  sockets[0].receive({ pong: 1 });
  clock.run(29_999); // answered
  assert.equal(sockets.length, 1);
  clock.run(1);
  assert.equal(sockets[0].pings(), 2);
  clock.run(5000); // not answered
  assert.ok(sockets[0].closed);
  assert.equal(sockets.length, 2);
});

test("online() pings an open connection, and any frame is an answer", () => {
  connection.resume();
  sockets[0].onopen();
  connection.online();
  assert.equal(sockets[0].pings(), 1);
  sockets[0].receive({ fragments: [] });
  clock.run(6000);
  assert.ok(!sockets[0].closed);
  connection.online();
  clock.run(5000 + 500);
  assert.ok(sockets[0].closed);
  assert.equal(sockets.length, 2);
});

test("pause() stays disconnected until resume(), and the old socket's close does not end the new connection", () => {
  connection.resume();
  sockets[0].onopen();
  connection.pause();
  assert.ok(sockets[0].closed);
  connection.online();
  clock.run(120_000);
  assert.equal(sockets.length, 1);
  connection.resume();
  sockets[1].onopen();
  sockets[0].onclose();
  clock.run(25_000);
  assert.equal(sockets.length, 2);
  assert.ok(!sockets[1].closed);
});

test("gives up a WebSocket that does not open within 10 s", async () => {
  connection.resume();
  clock.run(9_999);
  assert.ok(!sockets[0].closed);
  clock.run(1);
  assert.ok(sockets[0].closed);
  assert.deepEqual(net.requests, ["/live/poll?watch=1:10:card,2:20:detail"]);
});

test("changes to server-sent events when WebSockets fail and polls succeed, and passes on what the polls bring", async () => {
  const frame = { fragments: [{ id: 1, version: 11, view: "card", html: "" }] };
  net.answer = () => frame;
  connection.resume();
  await fail(1);
  assert.deepEqual(received, [frame]);
  assert.deepEqual(changes, []);
  await fail(1);
  assert.deepEqual(changes, ["EventSource"]);
  assert.equal(net.sources.length, 1);
  const before = sockets.length;
  net.sources[0].onopen();
  net.sources[0].receive({});
  assert.equal(statuses.at(-1), "live");
  clock.run(120_000);
  assert.equal(sockets.length, before);
});

test("keeps the transport during an outage, and while the server is full", async () => {
  connection.resume();
  await fail(6);
  net.answer = () => 503;
  await fail(6);
  net.answer = () => ({ fragments: [] });
  await fail(1);
  net.answer = () => undefined; // and once more
  await fail(1);
  net.answer = () => ({ fragments: [] });
  await fail(1);
  assert.deepEqual(changes, []);
  assert.equal(net.sources.length, 0);
});

test("allows more failures of a WebSocket that has worked before", async () => {
  net.answer = () => ({ fragments: [] });
  connection.resume();
  sockets[0].onopen();
  clock.run(1000);
  sockets[0].onclose();
  runNext();
  await fail(4);
  assert.deepEqual(changes, []);
  await fail(1);
  assert.deepEqual(changes, ["EventSource"]);
});

test("waits for Retry-After, with jitter", async () => {
  net.answer = () => ({ status: 503, headers: { "Retry-After": "20" } });
  net.random = 0.5;
  connection.resume();
  sockets[0].onclose();
  await settled();
  assert.deepEqual(clock.delays(), [30_000]);
});

test("changes to polling when a stream brings nothing within 5 s; begins with the remembered transport", async () => {
  net.answer = () => ({ fragments: [] });
  connection.resume("EventSource");
  clock.run(0);
  net.sources[0].onopen();
  clock.run(4_999);
  assert.deepEqual(changes, []);
  clock.run(1);
  await settled();
  assert.deepEqual(changes, ["fetch"]);
  assert.ok(net.sources[0].closed);
  assert.equal(sockets.length, 0);
  net.requests.length = 0;
  clock.run(500);
  await settled();
  assert.equal(statuses.at(-1), "live");
  for (const n of [2, 3, 4]) {
    clock.run(7_500);
    await settled();
    assert.equal(net.requests.length, n);
  }
});

test("polling backs off when it fails, and waits for Retry-After", async () => {
  connection.resume("fetch");
  const pauses = [];
  for (let n = 0; n < 4; n++) {
    clock.run(0);
    await settled();
    assert.equal(statuses.at(-1), "offline");
    pauses.push(clock.delays()[0]);
    if (n === 2) net.answer = () => ({ status: 503, headers: { "Retry-After": "60" } });
    clock.run(pauses[n]);
  }
  assert.deepEqual(pauses, [500, 1000, 2000, 120_000]);
  assert.ok(net.requests.every((url) => url === "/live/poll?watch=1:10:card,2:20:detail"));
});

test("replaces a stream once for several new subscriptions, and not for removed ones", () => {
  connection.resume("EventSource");
  clock.run(0);
  net.sources[0].onopen();
  net.sources[0].receive({});
  products = [...products, subscription(3, 0)];
  connection.send({ watch: [products[2]] });
  connection.send({ watch: [products[2]] });
  clock.run(1000);
  assert.equal(net.sources.length, 2);
  assert.ok(net.sources[0].closed);
  assert.match(net.sources[1].url, /\/live\/sse\?watch=1:10:card,2:20:detail,3:0:card$/);
  assert.deepEqual(statuses, ["connecting", "live"]);
  connection.send({ unwatch: [3] });
  clock.run(1000);
  assert.equal(net.sources.length, 2);
});

test("replaces a silent stream, and reconnects when the new one is silent too", () => {
  net.random = 0;
  connection.resume("EventSource");
  clock.run(0);
  net.sources[0].receive({});
  clock.run(30_000 + 100);
  assert.equal(net.sources.length, 2);
  net.sources[1].receive({});
  clock.run(30_000 + 100);
  assert.equal(net.sources.length, 3);
  clock.run(5_000);
  assert.equal(statuses.at(-1), "connecting");
});

test("URLs stay below 7,000 characters, and frames below the server's limit of 16 KiB", () => {
  products = Array.from({ length: 500 }, (_, i) => subscription(Number.MAX_SAFE_INTEGER - i, 1795433536820389, `${"v".repeat(32)}.pt-br`));
  connection.resume();
  sockets[0].onopen();
  assert.ok(sockets[0].sent.length > 1);
  for (const frame of sockets[0].sent) assert.ok(JSON.stringify(frame).length < 16 * 1024);
  assert.deepEqual(sockets[0].watched(), products);
  connection.pause();
  connection = start();
  connection.resume("EventSource");
  clock.run(0);
  assert.ok(net.sources.length > 1);
  for (const { url } of net.sources) assert.ok(url.length < 7000, `${url.length}`);
  assert.deepEqual(net.sources.flatMap(({ url }) => url.split("=")[1].split(",")), products.map(({ id, version, view }) => `${id}:${version}:${view}`));
});

test("polls where the browser has no EventSource", async () => {
  net.answer = () => ({ fragments: [] });
  connection = start({ ...net.env, EventSource: undefined });
  connection.resume();
  await fail(2);
  assert.deepEqual(changes, ["fetch"]);
  assert.equal(statuses.at(-1), "live");
  assert.equal(net.sources.length, 0);
});

test("polls again at once for what a full response left out", async () => {
  net.answer = (url) => {
    const list = url.searchParams.get("watch").split(",");
    const fragments = [subscription(Number(list[0].split(":")[0]), 99)];
    return list[1] ? { fragments, next: 1 } : { fragments };
  };
  products = [subscription(1, 10), subscription(2, 20, "detail"), subscription(3, 30)];
  connection = start();
  connection.resume("fetch");
  clock.run(0);
  await settled();
  assert.deepEqual(net.requests, ["1:10:card,2:20:detail,3:30:card", "2:20:detail,3:30:card", "3:30:card"].map((list) => `/live/poll?watch=${list}`));
  assert.deepEqual(received.flatMap((frame) => frame.fragments.map((f) => f.id)), [1, 2, 3]);
  assert.equal(statuses.at(-1), "live");
});

test("reports once that --origins lacks the page's origin, and keeps trying", async () => {
  const errors = [];
  const one = createConnection(net.env, (path) => `http://shop.test${path}?`, { subscriptions: () => [...products], receive: ({ error }) => void errors.push(error), report: () => {} });
  net.answer = () => ({ status: 403 });
  one.resume();
  await fail(4);
  assert.deepEqual(errors, ["--origins lacks this origin"]);
  assert.ok(sockets.length > 4); // --origins may be corrected meanwhile
});

test("does not report a refused origin when the server is full or the network is down", async () => {
  const errors = [];
  const one = createConnection(net.env, (path) => `http://shop.test${path}?`, { subscriptions: () => [...products], receive: ({ error }) => error && errors.push(error), report: () => {} });
  for (const answer of [{ status: 503 }, undefined, { fragments: [] }]) {
    net.answer = () => answer;
    one.resume();
    sockets.at(-1).onclose();
    await settled();
    one.pause();
  }
  assert.deepEqual(errors, []);
});
