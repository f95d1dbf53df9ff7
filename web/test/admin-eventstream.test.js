import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser } from "../assets/admin-eventstream.js";

const bytes = (text) => new TextEncoder().encode(text);

/** Parses a body in pieces, cut at these positions. */
function read(body, ...cuts) {
  const events = new EventParser();
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

test("parses events wherever the body is cut", () => {
  assert.deepEqual(read(body), want);
  for (let a = 0; a <= body.length; a++) {
    for (let b = a; b <= body.length; b++) assert.deepEqual(read(body, a, b), want, `cut at ${a} and ${b}`);
  }
  assert.deepEqual(read(body, ...body.keys()), want, "byte by byte");
});

test("ignores incomplete and invalid events", () => {
  assert.deepEqual(read(bytes("\n\n\ndata\n")).all, []);
  assert.deepEqual(read(bytes("data\n\n")).all, [{ data: "", id: "" }]);
  assert.deepEqual(read(bytes("id: a\0b\nretry: soon\nDATA: no\n data: no\ndata: yes\n\n")), { all: [{ data: "yes", id: "" }], retry: 0 });
});
