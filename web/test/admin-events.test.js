import assert from "node:assert/strict";
import { test } from "node:test";
import { Events } from "../assets/admin-events.js";

const bytes = (text) => new TextEncoder().encode(text);

/** What comes of a body that is cut at these places. */
function read(body, ...cuts) {
  const events = new Events();
  const ends = [...cuts, body.length];
  const all = ends.flatMap((end, i) => events.push(body.subarray(i ? ends[i - 1] : 0, end)));
  return { all, retry: events.retry };
}

const body = bytes(
  "\uFEFFretry: 2000\r\n\r\n: nothing yet\n\n" +
  'id: one\ndata: {"title":"Lämp 🏮"}\n\n' +
  "id: two\rdata: first\rdata:second\rdata\r\r" +
  "event: x\r\ndata:  kept: as it is\r\ndata: and this\r\n\r\n" +
  "id: lost\ndata: never ended",
);
const want = {
  retry: 2000,
  all: [
    { data: '{"title":"Lämp 🏮"}', id: "one" },
    { data: "first\nsecond\n", id: "two" },
    { data: " kept: as it is\nand this", id: "two" },
  ],
};

test("events come out whole, wherever the body is cut", () => {
  assert.deepEqual(read(body), want);
  for (let a = 0; a <= body.length; a++) {
    for (let b = a; b <= body.length; b++) assert.deepEqual(read(body, a, b), want, `cut at ${a} and ${b}`);
  }
  assert.deepEqual(read(body, ...body.keys()), want, "byte by byte");
});

test("what is no event is none", () => {
  assert.deepEqual(read(bytes("\n\n\ndata\n")).all, []);
  assert.deepEqual(read(bytes("data\n\n")).all, [{ data: "", id: "" }]);
  assert.deepEqual(read(bytes("id: a\0b\nretry: soon\nDATA: no\n data: no\ndata: yes\n\n")), { all: [{ data: "yes", id: "" }], retry: 0 });
});
