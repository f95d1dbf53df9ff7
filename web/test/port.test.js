import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { createPort } from "../client/port.js";
import { settled } from "./fakes.js";

let workers, hubs, locks, statuses, remembered, sample, page;

/** A shared worker that records what it receives. */
class Worker {
  received = [];
  port = { postMessage: (message) => this.received.push(structuredClone(message)), onmessage: undefined };
  send(data) { this.port.onmessage({ data }); }
}

/** The locks of a browser, with one holder and one waiter each. */
class Locks {
  /** @type {Map<string, Function>} */
  held = new Map();
  waiting = new Map();
  request(name, ...rest) {
    const [options, f] = rest.length > 1 ? rest : [{}, rest[0]];
    if (options.mode !== "shared") {
      const done = f();
      this.held.set(name, done);
      return done.then(() => this.held.delete(name));
    }
    return new Promise((_, no) => {
      this.waiting.set(name, f);
      options.signal?.addEventListener("abort", () => { this.waiting.delete(name); no(options.signal.reason); });
    });
  }
}

const subscription = (id, version, view = "card") => ({ id, version, view });
const fragment = (id, version, view = "card", more = {}) => ({ id, version, view, html: "", ...more });

beforeEach(() => {
  [workers, hubs, statuses] = [[], [], []];
  locks = new Locks();
  remembered = undefined;
  sample = false;
  page = createPort({
    shared: (failed) => {
      workers.push(Object.assign(new Worker(), { failed }));
      return workers.at(-1).port;
    },
    accept: (port) => {
      const hub = { received: [], send: (data) => port.postMessage(data) };
      port.onmessage = ({ data }) => hub.received.push(data);
      hubs.push(hub);
    },
    locks,
    onStatus: (s) => statuses.push(s),
    get sample() { return sample; },
    transport: (api) => (remembered = api ?? remembered),
  });
});

test("sends all subscriptions in one message, and calls back with newer fragments only", async () => {
  const [a, b, c] = [[], [], []];
  page.watch(subscription(1, 10), (f) => void a.push(f.version));
  page.resume();
  await settled();
  page.watch(subscription(1, 12), (f) => void b.push(f.version));
  page.watch({ id: 2, view: "detail" }, (f) => void c.push(f.version));
  await settled();
  const [worker] = workers;
  const { lock } = worker.received[0].join;
  assert.ok(locks.held.has(lock));
  assert.deepEqual(worker.received, [
    { join: { lock, transport: undefined } },
    { watch: [subscription(1, 10)] },
    { watch: [subscription(1, 10), subscription(1, 12), subscription(2, 0, "detail")] },
  ]);
  worker.send({ fragments: [fragment(1, 12), fragment(2, 20, "detail"), fragment(2, 30)] });
  worker.send({ fragments: [fragment(1, 11), fragment(1, 12)] });
  worker.send({ fragments: [fragment(1, 9, "card", { reset: true })] });
  assert.deepEqual([a, b, c], [[12, 9], [9], [20]]);
});

test("drops a subscription when its last callback has unsubscribed", async () => {
  const stop = [page.watch(subscription(1, 10), () => {}), page.watch(subscription(1, 10), () => {}), page.watch(subscription(2, 20), () => {})];
  page.resume();
  await settled();
  const { received } = workers[0];
  received.length = 0;
  stop[0]();
  await settled();
  assert.deepEqual(received.at(-1), { watch: [subscription(1, 10), subscription(2, 20)] });
  stop[1]();
  stop[1]();
  stop[2]();
  page.watch(subscription(2, 25), () => {}); // another one in the same task
  await settled();
  assert.deepEqual(received.slice(1), [{ watch: [subscription(2, 25)] }]);
});

test("only a sampled page reports which versions it shows, once each", async () => {
  page.resume();
  page.watch(subscription(1, 10), () => {});
  page.watch(subscription(1, 10), () => false);
  page.watch(subscription(2, 20), () => false);
  await settled();
  const [worker] = workers;
  const applied = () => worker.received.filter((m) => m.applied);
  worker.send({ fragments: [fragment(1, 11)] });
  assert.deepEqual(applied(), []);
  sample = true;
  worker.send({ fragments: [fragment(1, 12), fragment(2, 21)] });
  assert.deepEqual(applied(), [{ applied: [{ id: 1, version: 12 }] }]);
});

test("pause() leaves the hub and releases the lock; resume() joins with the versions shown by then", async () => {
  page.watch(subscription(1, 10), () => {});
  page.resume();
  await settled();
  const [worker] = workers;
  worker.send({ status: "live", lock: "worker 1" });
  worker.send({ fragments: [fragment(1, 11)] });
  assert.equal(locks.held.size, 1);
  assert.equal(locks.waiting.size, 1);
  page.pause();
  await settled();
  assert.deepEqual(worker.received.at(-1), { close: true });
  assert.equal(locks.held.size + locks.waiting.size, 0);
  worker.send({ fragments: [fragment(1, 12)] }); // was on its way
  worker.send({ status: "live" });
  assert.equal(page.status, "offline");
  page.resume();
  await settled();
  assert.deepEqual(workers[1].received.at(-1), { watch: [subscription(1, 11)] });
  assert.deepEqual(statuses, ["connecting", "live", "offline", "connecting"]);
});

test("joins a new worker when the old one has died", async () => {
  page.watch(subscription(1, 10), () => {});
  page.resume();
  await settled();
  workers[0].send({ status: "live", lock: "worker 1" });
  locks.waiting.get("worker 1")();
  await settled();
  assert.deepEqual(workers[1].received.at(-1), { watch: [subscription(1, 10)] });
});

test("runs the hub in the page when the worker's script does not load", async () => {
  page.watch(subscription(1, 10), () => {});
  page.resume();
  await settled();
  workers[0].failed();
  await settled();
  assert.deepEqual(hubs[0].received, [{ join: { lock: undefined, transport: undefined } }, { watch: [subscription(1, 10)] }]);
  page.pause();
  assert.deepEqual(hubs[0].received.at(-1), { close: true });
  page.resume();
  await settled();
  assert.equal(workers.length, 1);
  assert.equal(hubs.length, 2);
});

test("stays with a worker that has an error after its first message", async () => {
  page.resume();
  await settled();
  workers[0].send({ status: "live" });
  workers[0].failed();
  await settled();
  assert.equal(hubs.length, 0);
});

test("joins without locks where they are forbidden", async () => {
  locks.request = async () => { throw new DOMException("no", "SecurityError"); };
  page.resume();
  await settled();
  assert.deepEqual(workers[0].received, [{ join: { lock: undefined, transport: undefined } }, { watch: [] }]);
});

test("remembers the transport, and tells the hub when it joins", async () => {
  page.resume();
  await settled();
  workers[0].send({ transport: "EventSource" });
  page.pause();
  page.resume();
  await settled();
  assert.equal(workers[1].received[0].join.transport, "EventSource");
});

test("passes online() and offline() to the hub", async () => {
  page.online();
  page.resume();
  await settled();
  page.online();
  page.offline();
  assert.deepEqual(workers[0].received.slice(2), [{ call: "online" }, { call: "offline" }]);
});
