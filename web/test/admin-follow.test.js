import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Problem } from "../assets/admin-api.js";
import { FIRST_PIECE, Follow, LONGEST_PAUSE, SILENCE } from "../assets/admin-follow.js";

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
}

/** A call of the API that the test answers. */
class Call {
  constructor(path, headers, signal) {
    Object.assign(this, { path, headers, signal });
    this.answer = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    signal?.addEventListener("abort", () => this.reject(signal.reason), { once: true });
  }
  /** The call is answered with a stream, which say and end go on with. */
  stream(type = "text/event-stream; charset=utf-8") {
    const body = new ReadableStream({
      start: (controller) => {
        this.controller = controller;
        this.signal.addEventListener("abort", () => controller.error(this.signal.reason), { once: true });
      },
    });
    this.resolve(new Response(body, { headers: { "Content-Type": type } }));
  }
  say(text) { this.controller.enqueue(new TextEncoder().encode(text)); }
  end() { this.controller.close(); }
}

/** All that can happen without time has happened. */
async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}
const event = (id, ...revs) => `id: ${id}\ndata: ${JSON.stringify({ changes: revs, next: id })}\n\n`;

let calls, clock, random, statuses, heard, gaps, follow;

/** The call that has come last, after so many. */
const call = (n) => { assert.equal(calls.length, n); return calls[n - 1]; };

beforeEach(() => {
  clock = new Clock();
  random = 1;
  [calls, statuses, heard, gaps] = [[], [], [], 0];
  const made = (path, headers, signal) => { calls.push(new Call(path, headers, signal)); return calls.at(-1).answer; };
  follow = new Follow(
    { get: (path, signal) => made(path, {}, signal), stream: made },
    {
      random: () => random, now: () => clock.now, later: clock.later, cancel: clock.cancel,
      changed: (revs) => heard.push(...revs), gap: () => gaps++, status: (s) => statuses.push(s),
    },
  );
});
afterEach(() => follow.stop());

/** Followed from a place, with a stream that has begun. */
async function streaming() {
  const began = follow.begin();
  call(1).resolve({ changes: [], next: "place-1" });
  await began;
  follow.start();
  await settled();
  call(2).stream();
  call(2).say("retry: 2000\n\n");
  await settled();
}

test("it goes on from its place, and says what has changed", async () => {
  await streaming();
  assert.equal(call(2).path, "/changes");
  assert.equal(call(2).headers["Last-Event-ID"], "place-1");
  assert.deepEqual(statuses, ["connecting", "live"]);
  call(2).say(event("place-2", { id: 1, version: 10 }, { id: 2, version: 11 }) + ": nothing yet\n\n");
  await settled();
  assert.deepEqual(heard, [{ id: 1, version: 10 }, { id: 2, version: 11 }]);
  assert.equal(gaps, 0);
});

test("a stream that ends is taken up where the last whole event was", async () => {
  await streaming();
  call(2).say(event("place-2", { id: 1, version: 10 }) + 'id: place-3\ndata: {"cha');
  await settled();
  call(2).end();
  await settled();
  assert.equal(statuses.at(-1), "offline");
  clock.run(2000);
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "place-2");
  call(3).stream();
  call(3).say(event("place-3", { id: 2, version: 12 }));
  await settled();
  assert.deepEqual(heard, [{ id: 1, version: 10 }, { id: 2, version: 12 }]);
});

test("it comes back after anything between nothing and a cap that grows", async () => {
  await streaming();
  call(2).end();
  await settled();
  for (const cap of [2000, 4000, 8000, 16_000, LONGEST_PAUSE, LONGEST_PAUSE]) {
    const n = calls.length;
    clock.run(cap - 1);
    await settled();
    call(n);
    clock.run(1);
    await settled();
    call(n + 1).reject(new Problem(0, "no answer"));
    await settled();
  }
  random = 0; // drawn at the next pause
  clock.run(LONGEST_PAUSE);
  await settled();
  call(9).reject(new Problem(503, "full"));
  await settled();
  clock.run(0);
  await settled();
  call(10);
});

test("what has lasted is not held against it, and hurry does not wait", async () => {
  await streaming();
  clock.run(6000);
  call(2).end();
  await settled();
  clock.run(2000);
  await settled();
  call(3).reject(new Problem(0, "no answer"));
  await settled();
  follow.hurry();
  await settled();
  call(4);
});

test("a stream that has gone silent is given up", async () => {
  await streaming();
  clock.run(SILENCE - 1);
  call(2).say(": nothing yet\n\n");
  await settled();
  clock.run(SILENCE - 1);
  await settled();
  assert.equal(call(2).signal.aborted, false);
  clock.run(1);
  await settled();
  assert.equal(call(2).signal.aborted, true);
  assert.equal(statuses.at(-1), "offline");
  clock.run(LONGEST_PAUSE);
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "place-1");
});

test("where streams are held back it asks and waits instead", async () => {
  random = 0;
  follow.start();
  await settled();
  call(1).resolve({ changes: [], next: "place-1" });
  await settled();
  assert.equal(gaps, 1, "what was before is not known");
  for (const n of [2, 3]) {
    if (n === 2) call(n).stream(); // its head comes through, or nothing does
    await settled();
    clock.run(FIRST_PIECE);
    await settled();
    clock.run(0);
    await settled();
  }
  assert.match(call(4).path, /wait=25&since=place-1/);
  assert.equal(statuses.at(-1), "polling");
  call(4).resolve({ changes: [{ id: 1, version: 10 }, { id: 2, version: 9 }], next: "place/2" });
  await settled();
  assert.match(call(5).path, /since=place%2F2$/);
  call(5).resolve({ changes: [], next: "place-3" });
  await settled();
  assert.match(call(6).path, /since=place-3$/);
  assert.equal(heard.length, 2);
});

test("an answer that is no stream is not tried twice", async () => {
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

test("a server that is away says nothing of streams", async () => {
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

test("a token that is not taken ends it; a place that is not taken is left", async () => {
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
  call(4).resolve({ changes: [], next: "place-9" });
  await settled();
  assert.equal(gaps, 1);
  assert.equal(call(5).headers["Last-Event-ID"], "place-9");
  call(5).reject(new Problem(401, "revoked"));
  await settled();
  assert.equal(statuses.at(-1), "off");
  clock.run(10 * LONGEST_PAUSE);
  await settled();
  call(5);
});

test("stopped it is silent, and goes on from the same place", async () => {
  await streaming();
  call(2).say(event("place-2", { id: 1, version: 10 }));
  await settled();
  follow.stop();
  await settled();
  assert.equal(call(2).signal.aborted, true);
  clock.run(10 * LONGEST_PAUSE);
  await settled();
  call(2);
  assert.equal(statuses.at(-1), "off");
  follow.start();
  follow.start();
  await settled();
  assert.equal(call(3).headers["Last-Event-ID"], "place-2");
});
