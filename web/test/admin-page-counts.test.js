import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Problem } from "../assets/admin-api.js";
import { INTERVAL, MAX_IDS, PageCounter } from "../assets/admin-page-counts.js";

let requests, timers, visible, ids, counted, answer, pages;

/** Runs the next timer, and waits for the response. */
async function tick() {
  const [[timer, { f }]] = timers;
  timers.delete(timer);
  f();
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}
const delays = () => [...timers.values()].map((t) => t.ms);

beforeEach(() => {
  [requests, timers, visible, ids, counted] = [[], new Map(), true, [1, 2], []];
  answer = async () => ({ pages: 3, products: { 1: 2, 2: 1 }, complete: true });
  let last = 0;
  pages = new PageCounter({ get: (path) => (requests.push(path), answer()) }, {
    setTimeout: (f, ms) => { timers.set(++last, { f, ms }); return last; },
    clearTimeout: (timer) => timers.delete(timer),
    visible: () => visible, ids: () => ids, onCounts: (...counts) => counted.push(counts),
  });
});

test("requests the counts of the products on the screen at intervals", async () => {
  pages.start();
  await tick();
  assert.deepEqual(requests, ["/pages?ids=1,2"]);
  assert.deepEqual(counted, [[[1, 2], { pages: 3, products: { 1: 2, 2: 1 }, complete: true }]]);
  assert.deepEqual(delays(), [INTERVAL]);
  ids = [7];
  pages.update();
  pages.update();
  assert.equal(timers.size, 1);
  assert.ok(delays()[0] < INTERVAL);
  await tick();
  assert.equal(requests[1], "/pages?ids=7");
});

test("requests at most a hundred products, and none when there are none", async () => {
  ids = Array.from({ length: 250 }, (_, i) => i + 1);
  pages.start();
  await tick();
  assert.equal(requests[0].split(",").length, MAX_IDS);
  ids = [];
  await tick();
  assert.equal(requests.length, 1);
  assert.deepEqual(delays(), [INTERVAL]);
});

test("requests nothing while the page is hidden, and nothing after stop()", async () => {
  pages.start();
  visible = false;
  await tick();
  assert.deepEqual([requests.length, timers.size], [0, 0]);
  visible = true;
  pages.update();
  await tick();
  assert.equal(requests.length, 1);
  pages.stop();
  pages.update();
  assert.equal(timers.size, 0);
});

test("reports unknown counts after a failure, and tries again", async () => {
  answer = async () => { throw new Problem(503, "busy"); };
  pages.start();
  await tick();
  assert.deepEqual(counted, [[[1, 2], { pages: 0, products: {}, complete: false }]]);
  assert.deepEqual(delays(), [INTERVAL]);
});

test("sends one request at a time", async () => {
  answer = () => new Promise(() => {});
  pages.start();
  await tick();
  pages.update();
  assert.deepEqual([requests.length, timers.size], [1, 0]);
});
