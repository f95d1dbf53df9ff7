import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Problem } from "../assets/admin-api.js";
import { ChangeFeed, FIRST_BYTE_TIMEOUT, IDLE_TIMEOUT, MAX_BACKOFF } from "../assets/admin-changes.js";
import { Clock } from "./fakes.js";

/** A call of the API, answered by the test. */
class Call {
  constructor(path, headers, signal) {
    Object.assign(this, { path, headers, signal });
    this.answer = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    signal?.addEventListener("abort", () => this.reject(signal.reason), { once: true });
  }
  /** Answers with a stream; send and end continue it. */
  stream(type = "text/event-stream; charset=utf-8") {
    const body = new ReadableStream({
      start: (controller) => {
        this.controller = controller;
        this.signal.addEventListener("abort", () => controller.error(this.signal.reason), { once: true });
      },
    });
    this.resolve(new Response(body, { headers: { "Content-Type": type } }));
  }
  send(text) { this.controller.enqueue(new TextEncoder().encode(text)); }
  end() { this.controller.close(); }
}

/** Waits until everything has happened that needs no timer. */
async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}
const event = (id, ...revs) => `id: ${id}\ndata: ${JSON.stringify({ changes: revs, next: id })}\n\n`;

let calls, clock, random, statuses, changes, gaps, feed;

/** Returns the last call, which must be the n-th. */
const call = (n) => { assert.equal(calls.length, n); return calls[n - 1]; };

beforeEach(() => {
  clock = new Clock();
  random = 1;
  [calls, statuses, changes, gaps] = [[], [], [], 0];
  const made = (path, headers, signal) => { calls.push(new Call(path, headers, signal)); return calls.at(-1).answer; };
  feed = new ChangeFeed(
    { get: (path, signal) => made(path, {}, signal), stream: made },
    {
      random: () => random, now: () => clock.now, setTimeout: clock.later, clearTimeout: clock.cancel,
      onChanges: (revs) => changes.push(...revs), onGap: () => gaps++, onStatus: (s) => statuses.push(s),
    },
  );
});
afterEach(() => feed.stop());

/** Starts the feed at a position, and its stream. */
async function streaming() {
  const positioned = feed.seekToNow();
  call(1).resolve({ changes: [], next: "position-1" });
  await positioned;
  feed.start();
  await settled();
  call(2).stream();
  call(2).send("retry: 2000\n\n");
  await settled();
}

test("continues from its position, and reports changes", async () => {
  await streaming();
  assert.equal(call(2).path, "/changes");
  assert.equal(call(2).headers["Last-Event-ID"], "position-1");
  assert.deepEqual(statuses, ["connecting", "live"]);
  call(2).send(event("position-2", { id: 1, version: 10 }, { id: 2, version: 11 }) + ": nothing yet\n\n");
  await settled();
  assert.deepEqual(changes, [{ id: 1, version: 10 }, { id: 2, version: 11 }]);
  assert.equal(gaps, 0);
});

test("after the stream ends, continues after the last complete event", async () => {
  await streaming();
  call(2).send(event("position-2", { id: 1, version: 10 }) + 'id: position-3\ndata: {"cha');
  await settled();
  call(2).end();
  await settled();
  assert.equal(statuses.at(-1), "offline");
  clock.run(2000);
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "position-2");
  call(3).stream();
  call(3).send(event("position-3", { id: 2, version: 12 }));
  await settled();
  assert.deepEqual(changes, [{ id: 1, version: 10 }, { id: 2, version: 12 }]);
});

test("the back-off is a random share of a bound that doubles", async () => {
  await streaming();
  call(2).end();
  await settled();
  for (const cap of [2000, 4000, 8000, 16_000, MAX_BACKOFF, MAX_BACKOFF]) {
    const n = calls.length;
    clock.run(cap - 1);
    await settled();
    call(n);
    clock.run(1);
    await settled();
    call(n + 1).reject(new Problem(0, "no answer"));
    await settled();
  }
  random = 0; // used for the next delay
  clock.run(MAX_BACKOFF);
  await settled();
  call(9).reject(new Problem(503, "full"));
  await settled();
  clock.run(0);
  await settled();
  call(10);
});

test("the back-off starts again after a stable stream, and retryNow() does not wait", async () => {
  await streaming();
  clock.run(6000);
  call(2).end();
  await settled();
  clock.run(2000);
  await settled();
  call(3).reject(new Problem(0, "no answer"));
  await settled();
  feed.retryNow();
  await settled();
  call(4);
});

test("gives up a silent stream", async () => {
  await streaming();
  clock.run(IDLE_TIMEOUT - 1);
  call(2).send(": nothing yet\n\n");
  await settled();
  clock.run(IDLE_TIMEOUT - 1);
  await settled();
  assert.equal(call(2).signal.aborted, false);
  clock.run(1);
  await settled();
  assert.equal(call(2).signal.aborted, true);
  assert.equal(statuses.at(-1), "offline");
  clock.run(MAX_BACKOFF);
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "position-1");
});

test("changes to long polling when streams bring nothing", async () => {
  random = 0;
  feed.start();
  await settled();
  call(1).resolve({ changes: [], next: "position-1" });
  await settled();
  assert.equal(gaps, 1, "earlier changes may be missed");
  for (const n of [2, 3]) {
    if (n === 2) call(n).stream(); // headers may arrive, or nothing
    await settled();
    clock.run(FIRST_BYTE_TIMEOUT);
    await settled();
    clock.run(0);
    await settled();
  }
  assert.match(call(4).path, /wait=25&since=position-1/);
  assert.equal(statuses.at(-1), "polling");
  call(4).resolve({ changes: [{ id: 1, version: 10 }, { id: 2, version: 9 }], next: "position/2" });
  await settled();
  assert.match(call(5).path, /since=position%2F2$/);
  call(5).resolve({ changes: [], next: "position-3" });
  await settled();
  assert.match(call(6).path, /since=position-3$/);
  assert.equal(changes.length, 2);
});

test("changes to long polling at once when the response is not a stream", async () => {
  random = 0;
  await streaming();
  call(2).end();
  await settled();
  clock.run(0);
  await settled();
  call(3).stream("application/json");
  await settled();
  clock.run(0);
  await settled();
  assert.match(call(4).path, /wait=25/);
});

test("keeps using streams while the server is unavailable", async () => {
  random = 0;
  await streaming();
  for (const n of [2, 3, 4, 5]) {
    if (n === 2) call(n).end();
    else call(n).reject(new Problem(503, "draining"));
    await settled();
    clock.run(0);
    await settled();
  }
  assert.equal(call(6).path, "/changes");
});

test("stops when the token is refused, and starts anew when the position is refused", async () => {
  await streaming();
  call(2).end();
  await settled();
  clock.run(2000);
  await settled();
  call(3).reject(new Problem(400, "since is neither"));
  await settled();
  clock.run(4000);
  await settled();
  assert.equal(call(4).path, "/changes?wait=0");
  call(4).resolve({ changes: [], next: "position-9" });
  await settled();
  assert.equal(gaps, 1);
  assert.equal(call(5).headers["Last-Event-ID"], "position-9");
  call(5).reject(new Problem(401, "revoked"));
  await settled();
  assert.equal(statuses.at(-1), "off");
  clock.run(10 * MAX_BACKOFF);
  await settled();
  call(5);
});

test("stop() ends the stream, and start() continues from the same position", async () => {
  await streaming();
  call(2).send(event("position-2", { id: 1, version: 10 }));
  await settled();
  feed.stop();
  await settled();
  assert.equal(call(2).signal.aborted, true);
  clock.run(10 * MAX_BACKOFF);
  await settled();
  call(2);
  assert.equal(statuses.at(-1), "off");
  feed.start();
  feed.start();
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "position-2");
});
