import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { isAbort, Api, newKey, Problem } from "../assets/admin-api.js";

let calls, answers, paused, unauthorized, now, keys, api;

/** @param {object} body */
const answer = (status, body = {}, headers = {}) => () => new Response(JSON.stringify(body), { status, headers });
const noResponse = () => { throw new TypeError("fetch failed"); };
const stale = answer(412, { type: "urn:shelfcast:problem:stale-version", detail: "the product has changed since" });

beforeEach(() => {
  [calls, answers, paused, unauthorized, now, keys] = [[], [], [], [], 0, 0];
  api = new Api({
    fetch: async (path, init) => { calls.push({ path, ...init }); return answers.shift()(); },
    sleep: async (ms) => { paused.push(ms); },
    random: () => 1,
    now: () => now,
    key: () => `key-${++keys}`,
    onUnauthorized: (problem) => unauthorized.push(problem),
  });
  api.token = "the token";
});

const key = (n) => calls[n].headers["Idempotency-Key"];
const edit = (id = 1, body = { price: "1.00" }, version = 10) => api.change("PATCH", `/products/${id}`, { body, version });

test("an edit is a merge patch of the loaded version, with its own idempotency key", async () => {
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

test("repeats a change without a response once, with the same key", async () => {
  answers = [noResponse, answer(200, { version: 11 })];
  assert.deepEqual(await edit(), { version: 11 });
  assert.equal(key(0), key(1));
  assert.deepEqual(paused, [1000]);

  answers = [answer(503, {}, { "Retry-After": "3" }), answer(200, { version: 12 })];
  await edit(2);
  assert.equal(key(2), key(3));
  assert.notEqual(key(2), key(0));
  assert.deepEqual(paused, [1000, 3000]);
});

test("sends a change at most twice, and uses the same key when the person repeats it", async () => {
  answers = [noResponse, noResponse, noResponse, answer(200)];
  await assert.rejects(edit(), (p) => p instanceof Problem && p.status === 0 && p.uncertain);
  assert.equal(calls.length, 2);
  await edit();
  assert.equal(new Set([0, 1, 2, 3].map(key)).size, 1);
  answers = [answer(200), answer(200)];
  await edit();
  await edit(1, { price: "2.00" });
  assert.equal(new Set([3, 4, 5].map(key)).size, 3, "the next change is a new one");
});

test("uses a new key for the same change a day later", async () => {
  answers = [answer(500), answer(200)];
  await assert.rejects(edit(), { status: 500 });
  now += 24 * 3600_000;
  await edit();
  assert.notEqual(key(0), key(1));
});

test("does not repeat a refused change, and reports the errors by field", async () => {
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
    return !p.uncertain;
  });
  answers = [stale, stale];
  await assert.rejects(edit(), { status: 412 });
  await assert.rejects(edit(), { status: 412 });
  assert.equal(new Set([0, 1, 2].map(key)).size, 3);
});

test("treats a cut-off body as no response, and a proxy's page as an error", async () => {
  const page = () => new Response("<h1>Bad gateway</h1>", { status: 502 });
  answers = [page];
  await assert.rejects(edit(), { status: 502, message: "The server reported an error (502)." });
  answers = [() => new Response("cut o"), answer(200, { version: 11 })];
  assert.deepEqual(await edit(2), { version: 11 });
  assert.equal(key(1), key(2));
});

test("calls onUnauthorized for 401 only", async () => {
  answers = [answer(401, { detail: "the token is unknown" }), answer(403, { detail: "the token lacks the scope" })];
  await assert.rejects(api.get("/caller"), { status: 401 });
  await assert.rejects(edit(), { status: 403 });
  assert.deepEqual(unauthorized.map((p) => p.message), ["The token is unknown."]);
});

test("an aborted call is not a problem", async () => {
  const controller = new AbortController();
  answers = [() => { controller.abort(); throw controller.signal.reason; }];
  await assert.rejects(api.get("/products", controller.signal), (error) => isAbort(error) && !(error instanceof Problem));
});

test("keys are unique", () => {
  const some = Array.from({ length: 1000 }, newKey);
  assert.equal(new Set(some).size, 1000);
  assert.match(some[0], /^[0-9a-f]{32}$/);
});
