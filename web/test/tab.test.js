import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { tab } from "../client/tab.js";
import { settled } from "./clock.js";

let shared, owned, locks, statuses, memory, tells, live;

/** What the worker's end of a port hears. */
class Ear {
  heard = [];
  port = { postMessage: (message) => this.heard.push(structuredClone(message)), onmessage: undefined };
  say(data) { this.port.onmessage({ data }); }
}

/** Locks as browsers have them, for one who waits and one who has it. */
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

const item = (id, version, view = "card") => ({ id, version, view });
const fragment = (id, version, view = "card", more = {}) => ({ id, version, view, html: "", ...more });

beforeEach(() => {
  [shared, owned, statuses] = [[], [], []];
  locks = new Locks();
  memory = 0;
  tells = false;
  live = tab({
    shared: (failed) => {
      shared.push(Object.assign(new Ear(), { failed }));
      return shared.at(-1).port;
    },
    own: (port) => {
      const ear = { heard: [], say: (data) => port.postMessage(data) };
      port.onmessage = ({ data }) => ear.heard.push(data);
      owned.push(ear);
    },
    locks,
    status: (s) => statuses.push(s),
    get tells() { return tells; },
    via: (via) => (memory = via ?? memory),
  });
});

test("it says who wants what in one message, and hands each what is news to him", async () => {
  const [a, b, c] = [[], [], []];
  live.watch(item(1, 10), (f) => void a.push(f.version));
  live.resume();
  await settled();
  live.watch(item(1, 12), (f) => void b.push(f.version));
  live.watch({ id: 2, view: "detail" }, (f) => void c.push(f.version));
  await settled();
  const [worker] = shared;
  const { lock } = worker.heard[0].join;
  assert.ok(locks.held.has(lock));
  assert.deepEqual(worker.heard, [
    { join: { lock, via: 0 } },
    { want: [item(1, 10)] },
    { want: [item(1, 10), item(1, 12), item(2, 0, "detail")] },
  ]);
  worker.say({ fragments: [fragment(1, 12), fragment(2, 20, "detail"), fragment(2, 30)] });
  worker.say({ fragments: [fragment(1, 11), fragment(1, 12)] });
  worker.say({ fragments: [fragment(1, 9, "card", { reset: true })] });
  assert.deepEqual([a, b, c], [[12, 9], [9], [20]]);
});

test("a product is dropped when nobody in the tab wants it any more", async () => {
  const stop = [live.watch(item(1, 10), () => {}), live.watch(item(1, 10), () => {}), live.watch(item(2, 20), () => {})];
  live.resume();
  await settled();
  const { heard } = shared[0];
  heard.length = 0;
  stop[0]();
  await settled();
  assert.deepEqual(heard.at(-1), { want: [item(1, 10), item(2, 20)] });
  stop[1]();
  stop[1]();
  stop[2]();
  live.watch(item(2, 25), () => {}); // somebody else, at once
  await settled();
  assert.deepEqual(heard.slice(1), [{ want: [item(2, 25)] }]);
});

test("a tab of the sample tells what it shows now, once, and no other does", async () => {
  live.resume();
  live.watch(item(1, 10), () => {});
  live.watch(item(1, 10), () => false);
  live.watch(item(2, 20), () => false);
  await settled();
  const [worker] = shared;
  const applied = () => worker.heard.filter((m) => m.applied);
  worker.say({ fragments: [fragment(1, 11)] });
  assert.deepEqual(applied(), []);
  tells = true;
  worker.say({ fragments: [fragment(1, 12), fragment(2, 21)] });
  assert.deepEqual(applied(), [{ applied: [{ id: 1, version: 12 }] }]);
});

test("it leaves with a word, and without its lock, and comes back with what it shows by then", async () => {
  live.watch(item(1, 10), () => {});
  live.resume();
  await settled();
  const [worker] = shared;
  worker.say({ status: "live", lock: "worker 1" });
  worker.say({ fragments: [fragment(1, 11)] });
  assert.equal(locks.held.size, 1);
  assert.equal(locks.waiting.size, 1);
  live.pause();
  await settled();
  assert.deepEqual(worker.heard.at(-1), { bye: true });
  assert.equal(locks.held.size + locks.waiting.size, 0);
  worker.say({ fragments: [fragment(1, 12)] }); // on its way, and too late
  worker.say({ status: "live" });
  assert.equal(live.status, "offline");
  live.resume();
  await settled();
  assert.deepEqual(shared[1].heard.at(-1), { want: [item(1, 11)] });
  assert.deepEqual(statuses, ["connecting", "live", "offline", "connecting"]);
});

test("a worker that died is replaced", async () => {
  live.watch(item(1, 10), () => {});
  live.resume();
  await settled();
  shared[0].say({ status: "live", lock: "worker 1" });
  locks.waiting.get("worker 1")();
  await settled();
  assert.deepEqual(shared[1].heard.at(-1), { want: [item(1, 10)] });
});

test("where the shared worker does not come, its module is in the page", async () => {
  live.watch(item(1, 10), () => {});
  live.resume();
  await settled();
  shared[0].failed();
  await settled();
  assert.deepEqual(owned[0].heard, [{ join: { lock: undefined, via: 0 } }, { want: [item(1, 10)] }]);
  live.pause();
  assert.deepEqual(owned[0].heard.at(-1), { bye: true });
  live.resume();
  await settled();
  assert.equal(shared.length, 1);
  assert.equal(owned.length, 2);
});

test("an error in a worker that has spoken is none of ours", async () => {
  live.resume();
  await settled();
  shared[0].say({ status: "live" });
  shared[0].failed();
  await settled();
  assert.equal(owned.length, 0);
});

test("locks that are forbidden are done without", async () => {
  locks.request = async () => { throw new DOMException("no", "SecurityError"); };
  live.resume();
  await settled();
  assert.deepEqual(shared[0].heard, [{ join: { lock: undefined, via: 0 } }, { want: [] }]);
});

test("which transport works here is remembered, and said when the tab joins", async () => {
  live.resume();
  await settled();
  shared[0].say({ via: 1 });
  live.pause();
  live.resume();
  await settled();
  assert.equal(shared[1].heard[0].join.via, 1);
});

test("the network's ups and downs are passed on", async () => {
  live.hurry();
  live.resume();
  await settled();
  live.hurry();
  live.lost();
  assert.deepEqual(shared[0].heard.slice(2), [{ poke: "hurry" }, { poke: "lost" }]);
});
