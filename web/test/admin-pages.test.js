import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Problem } from "../assets/admin-api.js";
import { MOST, OpenPages, PERIOD } from "../assets/admin-pages.js";

let asked, timers, visible, ids, counted, answer, pages;

/** The timer that is due next runs, and what it asks for is answered. */
async function tick() {
  const [[timer, { f }]] = timers;
  timers.delete(timer);
  f();
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}
const due = () => [...timers.values()].map((t) => t.ms);

beforeEach(() => {
  [asked, timers, visible, ids, counted] = [[], new Map(), true, [1, 2], []];
  answer = async () => ({ pages: 3, products: { 1: 2, 2: 1 }, complete: true });
  let last = 0;
  pages = new OpenPages({ get: (path) => (asked.push(path), answer()) }, {
    later: (f, ms) => { timers.set(++last, { f, ms }); return last; },
    cancel: (timer) => timers.delete(timer),
    visible: () => visible, ids: () => ids, counted: (...said) => counted.push(said),
  });
});

test("it asks for what is on the screen, again and again", async () => {
  pages.start();
  await tick();
  assert.deepEqual(asked, ["/pages?ids=1,2"]);
  assert.deepEqual(counted, [[[1, 2], { pages: 3, products: { 1: 2, 2: 1 }, complete: true }]]);
  assert.deepEqual(due(), [PERIOD]);
  ids = [7];
  pages.soon();
  pages.soon();
  assert.equal(timers.size, 1);
  assert.ok(due()[0] < PERIOD);
  await tick();
  assert.equal(asked[1], "/pages?ids=7");
});

test("it asks for no more than a hundred, and for nothing when there is nothing", async () => {
  ids = Array.from({ length: 250 }, (_, i) => i + 1);
  pages.start();
  await tick();
  assert.equal(asked[0].split(",").length, MOST);
  ids = [];
  await tick();
  assert.equal(asked.length, 1);
  assert.deepEqual(due(), [PERIOD]);
});

test("nobody who does not look is answered, and nobody who has left", async () => {
  pages.start();
  visible = false;
  await tick();
  assert.deepEqual([asked.length, timers.size], [0, 0]);
  visible = true;
  pages.soon();
  await tick();
  assert.equal(asked.length, 1);
  pages.stop();
  pages.soon();
  assert.equal(timers.size, 0);
});

test("what could not be counted is not known, and asked for again", async () => {
  answer = async () => { throw new Problem(503, "busy"); };
  pages.start();
  await tick();
  assert.deepEqual(counted, [[[1, 2], { pages: 0, products: {}, complete: false }]]);
  assert.deepEqual(due(), [PERIOD]);
});

test("one question at a time", async () => {
  answer = () => new Promise(() => {});
  pages.start();
  await tick();
  pages.soon();
  assert.deepEqual([asked.length, timers.size], [1, 0]);
});
