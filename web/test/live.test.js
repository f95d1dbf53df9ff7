import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { live as connection } from "../client/live.js";
import { Network, settled } from "./clock.js";

let net, clock, sockets, statuses, vias, products, taken, live;

const item = (id, version, view = "card") => ({ id, version, view });
const start = (env = net.env) =>
  connection(env, (path) => `http://shop.test${path}?`, {
    items: () => [...products],
    take: (frame) => taken.push(frame),
    tell({ status, via }) {
      if (status) statuses.push(status);
      if (via) vias.push(via);
    },
  });

beforeEach(() => {
  net = new Network();
  ({ clock, sockets } = net);
  [statuses, vias, taken] = [[], [], []];
  products = [item(1, 10), item(2, 20, "detail")];
  live = start();
});

/** Nothing opens from now on: waits for each try to fail, as often as said. */
async function fail(times) {
  for (let n = 0; n < times; n++) {
    sockets.at(-1).onclose();
    await settled();
    retry();
    await settled();
  }
}

/** Time passes until the next thing happens. */
const retry = () => clock.run(Math.min(...clock.delays()));

test("it watches all that is shown, and hands over what comes", (t) => {
  t.mock.method(console, "warn", () => {});
  live.resume();
  assert.equal(sockets[0].url, "ws://shop.test/live?");
  sockets[0].onopen();
  assert.deepEqual(sockets[0].watched(), products);
  const frames = [{ fragments: [{ id: 1, version: 11, view: "card", html: "" }] }, { something: "else" }];
  sockets[0].say(frames[0]);
  sockets[0].onmessage({ data: "no JSON" });
  sockets[0].say(frames[1]);
  assert.deepEqual(taken, frames);
});

test("what a connection brings after it was given up is not taken", () => {
  live.resume();
  sockets[0].onopen();
  live.lost();
  retry();
  sockets[1].onopen();
  sockets[0].say({ fragments: [{ id: 1, version: 5, reset: true }] });
  live.pause();
  sockets[1].say({ fragments: [{ id: 1, version: 5, reset: true }] });
  assert.deepEqual(taken, []);
  assert.equal(clock.timers.size, 0);
});

test("after a loss it watches anew, with what is shown by then", () => {
  live.resume();
  sockets[0].onopen();
  products = [item(1, 11)];
  sockets[0].onclose();
  retry();
  assert.equal(sockets.length, 2);
  sockets[1].onopen();
  assert.deepEqual(sockets[1].watched(), products);
  assert.deepEqual(statuses, ["connecting", "live", "offline", "connecting", "live"]);
});

test("the back-off is a random share of a cap that doubles up to 30 s", () => {
  live.resume();
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
  for (let i = 0; i < 8; i++) { sockets.at(-1).onclose(); clock.run(Math.min(...clock.delays())); }
  const before = sockets.length;
  sockets.at(-1).onclose();
  net.random = 0.5;
  live.hurry();
  assert.deepEqual(clock.delays(), [250]);
  clock.run(250);
  assert.equal(sockets.length, before + 1);
});

test("a silent connection is asked whether it lives, and left when it does not", () => {
  net.random = 0;
  live.resume();
  sockets[0].onopen();
  clock.run(29_999);
  assert.equal(sockets[0].pings(), 0);
  clock.run(1);
  assert.equal(sockets[0].pings(), 1);
  sockets[0].say({ pong: 1 });
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
  sockets[0].say({ fragments: [] });
  clock.run(6000);
  assert.ok(!sockets[0].closed);
  live.hurry();
  clock.run(5000 + 500);
  assert.ok(sockets[0].closed);
  assert.equal(sockets.length, 2);
});

test("a paused one stays away, comes back, and the old socket's end does not disturb the new one", () => {
  live.resume();
  sockets[0].onopen();
  live.pause();
  assert.ok(sockets[0].closed);
  live.hurry();
  clock.run(120_000);
  assert.equal(sockets.length, 1);
  live.resume();
  sockets[1].onopen();
  sockets[0].onclose();
  clock.run(25_000);
  assert.equal(sockets.length, 2);
  assert.ok(!sockets[1].closed);
});

test("a socket that does not open within 10 s has failed", async () => {
  live.resume();
  clock.run(9_999);
  assert.ok(!sockets[0].closed);
  clock.run(1);
  assert.ok(sockets[0].closed);
  assert.deepEqual(net.asked, ["/live/poll?watch=1:10:card,2:20:detail"]);
});

test("a blocked WebSocket is found out by plain HTTP, which also brings what is new", async () => {
  const frame = { fragments: [{ id: 1, version: 11, view: "card", html: "" }] };
  net.answer = () => frame;
  live.resume();
  await fail(1);
  assert.deepEqual(taken, [frame]);
  assert.deepEqual(vias, []);
  await fail(1);
  assert.deepEqual(vias, [1]);
  assert.equal(net.sources.length, 1);
  const before = sockets.length;
  net.sources[0].onopen();
  net.sources[0].say({});
  assert.equal(statuses.at(-1), "live");
  clock.run(120_000);
  assert.equal(sockets.length, before);
});

test("an outage is not a block, and neither is an instance that is full", async () => {
  live.resume();
  await fail(6);
  net.answer = () => 503;
  await fail(6);
  net.answer = () => ({ fragments: [] });
  await fail(1);
  net.answer = () => undefined; // and once more
  await fail(1);
  net.answer = () => ({ fragments: [] });
  await fail(1);
  assert.deepEqual(vias, []);
  assert.equal(net.sources.length, 0);
});

test("a WebSocket that has worked here is not given up so soon", async () => {
  net.answer = () => ({ fragments: [] });
  live.resume();
  sockets[0].onopen();
  clock.run(1000);
  sockets[0].onclose();
  retry();
  await fail(4);
  assert.deepEqual(vias, []);
  await fail(1);
  assert.deepEqual(vias, [1]);
});

test("Retry-After is minded, and not by all at the same moment", async () => {
  net.answer = () => ({ status: 503, headers: { "Retry-After": "20" } });
  net.random = 0.5;
  live.resume();
  sockets[0].onclose();
  await settled();
  assert.deepEqual(clock.delays(), [30_000]);
});

test("a stream that brings nothing within 5 s gives way to polling; what was found out is where the next begins", async () => {
  net.answer = () => ({ fragments: [] });
  live.resume(1);
  clock.run(0);
  net.sources[0].onopen();
  clock.run(4_999);
  assert.deepEqual(vias, []);
  clock.run(1);
  await settled();
  assert.deepEqual(vias, [2]);
  assert.ok(net.sources[0].closed);
  assert.equal(sockets.length, 0);
  net.asked.length = 0;
  clock.run(500);
  await settled();
  assert.equal(statuses.at(-1), "live");
  for (const n of [2, 3, 4]) {
    clock.run(7_500);
    await settled();
    assert.equal(net.asked.length, n);
  }
});

test("polling backs off when it fails, and minds Retry-After", async () => {
  live.resume(2);
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
  assert.ok(net.asked.every((url) => url === "/live/poll?watch=1:10:card,2:20:detail"));
});

test("a stream is opened anew to watch more, once for what comes together", () => {
  live.resume(1);
  clock.run(0);
  net.sources[0].onopen();
  net.sources[0].say({});
  products = [...products, item(3, 0)];
  live.say({ watch: [products[2]] });
  live.say({ watch: [products[2]] });
  clock.run(1000);
  assert.equal(net.sources.length, 2);
  assert.ok(net.sources[0].closed);
  assert.match(net.sources[1].url, /\/live\/sse\?watch=1:10:card,2:20:detail,3:0:card$/);
  assert.deepEqual(statuses, ["connecting", "live"]);
  live.say({ unwatch: [3] });
  clock.run(1000);
  assert.equal(net.sources.length, 2);
});

test("a stream that falls silent is opened anew, and left when it is silent still", () => {
  net.random = 0;
  live.resume(1);
  clock.run(0);
  net.sources[0].say({});
  clock.run(30_000 + 100);
  assert.equal(net.sources.length, 2);
  net.sources[1].say({});
  clock.run(30_000 + 100);
  assert.equal(net.sources.length, 3);
  clock.run(5_000);
  assert.equal(statuses.at(-1), "connecting");
});

test("addresses stay below 7,000 characters, and frames below the server's limit", () => {
  products = Array.from({ length: 500 }, (_, i) => item(Number.MAX_SAFE_INTEGER - i, 1795433536820389, `${"v".repeat(32)}.pt-br`));
  live.resume();
  sockets[0].onopen();
  assert.ok(sockets[0].sent.length > 1);
  for (const frame of sockets[0].sent) assert.ok(JSON.stringify(frame).length < 16 * 1024);
  assert.deepEqual(sockets[0].watched(), products);
  live.pause();
  live = start();
  live.resume(1);
  clock.run(0);
  assert.ok(net.sources.length > 1);
  for (const { url } of net.sources) assert.ok(url.length < 7000, `${url.length}`);
  assert.deepEqual(net.sources.flatMap(({ url }) => url.split("=")[1].split(",")), products.map(({ id, version, view }) => `${id}:${version}:${view}`));
});

test("where there are no streams of events, it polls", async () => {
  net.answer = () => ({ fragments: [] });
  live = start({ ...net.env, EventSource: undefined });
  live.resume(1);
  clock.run(0);
  await settled();
  assert.equal(statuses.at(-1), "live");
  assert.equal(net.asked.length, 1);
});

test("what a poll has no room for is asked for at once, from where the answer ended", async () => {
  net.answer = (url) => {
    const list = url.searchParams.get("watch").split(",");
    const fragments = [item(Number(list[0].split(":")[0]), 99)];
    return list[1] ? { fragments, next: 1 } : { fragments };
  };
  products = [item(1, 10), item(2, 20, "detail"), item(3, 30)];
  live = start({ ...net.env, EventSource: undefined });
  live.resume(1);
  clock.run(0);
  await settled();
  assert.deepEqual(net.asked, ["1:10:card,2:20:detail,3:30:card", "2:20:detail,3:30:card", "3:30:card"].map((list) => `/live/poll?watch=${list}`));
  assert.deepEqual(taken.flatMap((frame) => frame.fragments.map((f) => f.id)), [1, 2, 3]);
  assert.equal(statuses.at(-1), "live");
});
