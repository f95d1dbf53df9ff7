import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { aborted, Api, newKey, Problem } from "../assets/admin-api.js";

let calls, answers, paused, refused, now, keys, api;

/** @param {object} body */
const answer = (status, body = {}, headers = {}) => () => new Response(JSON.stringify(body), { status, headers });
const away = () => { throw new TypeError("fetch failed"); };
const stale = answer(412, { type: "urn:shelfcast:problem:stale-version", detail: "the product has changed since" });

beforeEach(() => {
  [calls, answers, paused, refused, now, keys] = [[], [], [], [], 0, 0];
  api = new Api({
    fetch: async (path, init) => { calls.push({ path, ...init }); return answers.shift()(); },
    pause: async (ms) => { paused.push(ms); },
    random: () => 1,
    now: () => now,
    key: () => `key-${++keys}`,
    refused: (problem) => refused.push(problem),
  });
  api.token = "the token";
});

const key = (n) => calls[n].headers["Idempotency-Key"];
const edit = (id = 1, body = { price: "1.00" }, version = 10) => api.change("PATCH", `/products/${id}`, { body, version });

test("an edit is a merge patch of the version that was seen, with a key of its own", async () => {
  answers = [answer(200, { id: 1, version: 11 }), answer(200), answer(201)];
  assert.deepEqual(await edit(), { id: 1, version: 11 });
  await edit(2);
  await api.change("POST", "/products", { body: { sku: "x" } });
  const [first, second, third] = calls;
  assert.equal(first.path, "/api/v1/products/1");
  assert.deepEqual([first.method, first.body], ["PATCH", '{"price":"1.00"}']);
  assert.equal(first.headers.Authorization, "Bearer the token");
  assert.equal(first.headers["Content-Type"], "application/merge-patch+json");
  assert.equal(first.headers["If-Match"], '"10"');
  assert.equal(third.headers["Content-Type"], "application/json");
  assert.ok(!("If-Match" in third.headers));
  assert.equal(new Set([0, 1, 2].map(key)).size, 3);
  assert.equal(second.path, "/api/v1/products/2");
});

test("without an answer it is sent once more, with the same key", async () => {
  answers = [away, answer(200, { version: 11 })];
  assert.deepEqual(await edit(), { version: 11 });
  assert.equal(key(0), key(1));
  assert.deepEqual(paused, [1000]);

  answers = [answer(503, {}, { "Retry-After": "3" }), answer(200, { version: 12 })];
  await edit(2);
  assert.equal(key(2), key(3));
  assert.notEqual(key(2), key(0));
  assert.deepEqual(paused, [1000, 3000]);
});

test("it is sent no more than twice, and whoever asks for the same again means the same", async () => {
  answers = [away, away, away, answer(200)];
  await assert.rejects(edit(), (p) => p instanceof Problem && p.status === 0 && p.open);
  assert.equal(calls.length, 2);
  await edit();
  assert.equal(new Set([0, 1, 2, 3].map(key)).size, 1);
  answers = [answer(200), answer(200)];
  await edit();
  await edit(1, { price: "2.00" });
  assert.equal(new Set([3, 4, 5].map(key)).size, 3, "that was answered: the next is another one");
});

test("a day later the same is meant once more", async () => {
  answers = [answer(500), answer(200)];
  await assert.rejects(edit(), { status: 500 });
  now += 24 * 3600_000;
  await edit();
  assert.notEqual(key(0), key(1));
});

test("a refusal is not tried again, and says what is wrong with which field", async () => {
  answers = [answer(422, {
    type: "urn:shelfcast:problem:invalid-input", detail: "invalid input", errors: [
      { location: "body.price", message: "price is negative" }, { location: "body.stock", message: "expected integer" },
      { location: "body", message: "is odd" },
    ],
  })];
  await assert.rejects(edit(), (p) => {
    assert.deepEqual(p.fields, { price: "is negative", stock: "expected integer" });
    assert.equal(p.message, "Invalid input: is odd.");
    assert.equal(p.type, "invalid-input");
    return !p.open;
  });
  answers = [stale, stale];
  await assert.rejects(edit(), { status: 412 });
  await assert.rejects(edit(), { status: 412 });
  assert.equal(new Set([0, 1, 2].map(key)).size, 3);
});

test("what is no JSON is no answer; a proxy's page is a problem", async () => {
  const page = () => new Response("<h1>Bad gateway</h1>", { status: 502 });
  answers = [page];
  await assert.rejects(edit(), { status: 502, message: "The server answered 502." });
  answers = [() => new Response("cut o"), answer(200, { version: 11 })];
  assert.deepEqual(await edit(2), { version: 11 });
  assert.equal(key(1), key(2));
});

test("a token that is not taken is told, and nothing else is", async () => {
  answers = [answer(401, { detail: "the token is unknown" }), answer(403, { detail: "the token lacks the scope" })];
  await assert.rejects(api.get("/caller"), { status: 401 });
  await assert.rejects(edit(), { status: 403 });
  assert.deepEqual(refused.map((p) => p.message), ["The token is unknown."]);
});

test("what was given up is no problem", async () => {
  const given = new AbortController();
  answers = [() => { given.abort(); throw given.signal.reason; }];
  await assert.rejects(api.get("/products", given.signal), (error) => aborted(error) && !(error instanceof Problem));
});

test("keys are new", () => {
  const some = Array.from({ length: 1000 }, newKey);
  assert.equal(new Set(some).size, 1000);
  assert.match(some[0], /^[0-9a-f]{32}$/);
});
