import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { Problem } from "../assets/admin-api.js";
import { Row } from "../assets/admin-row.js";
import { Words } from "../assets/admin-words.js";

const html = readFileSync(new URL("../templates/admin.html", import.meta.url), "utf8");
const product = (more = {}) => ({
  id: 1, version: 10, sku: "lamp", title: "The lamp", description: "", vendor: "Co", image_url: "", price: "19.90",
  compare_at_price: null, currency: "EUR", stock: 7, published: true, archived: false, created_at: "2026-11-24T09:30:00Z", ...more,
});

let shop, calls, notices, may, answers, window, lamp, mug;

/** All that can happen without time has happened. */
async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

beforeEach(() => {
  window = new Window({ url: "http://shop.test/admin" });
  for (const name of ["window", "document", "HTMLInputElement", "HTMLTextAreaElement"]) globalThis[name] = name === "window" ? window : window[name];
  window.document.body.innerHTML = html.slice(html.indexOf("<template"), html.indexOf("</body>"));
  [calls, notices, may, answers] = [[], [], true, []];
  shop = new Map([[1, product()], [2, product({ id: 2, sku: "mug", title: "The mug" })]]);
  const desk = {
    words: new Words("en"), self: () => ({ key: "token:7", may }), notice: (text) => notices.push(text), touched: () => {}, ask: async () => true,
    history: () => {}, step: (row, name, step) => notices.push(`${row.id} ${name} ${step}`),
    api: {
      get: async (path) => {
        const [, id, history] = /^\/products\/(\d+)(\/history)?/.exec(path);
        if (!history) return shop.get(Number(id));
        return { entries: [{ version: shop.get(Number(id)).version, author: "erp", author_key: "token:7", made_at: "2026-11-24T09:30:00Z", changes: [] }] };
      },
      change: async (method, path, { body, version }) => {
        calls.push({ method, path, body, version });
        const answer = answers.shift();
        if (answer) throw answer;
        const id = Number(/\d+/.exec(path)[0]);
        if (version !== shop.get(id).version) throw new Problem(412, "changed");
        if (path.endsWith("/archive")) body = { archived: true };
        shop.set(id, { ...shop.get(id), ...body, version: version + 1, ...(body?.stock === undefined ? {} : { stock: Number(body.stock) }) });
        return shop.get(id);
      },
    },
  };
  [lamp, mug] = [new Row(shop.get(1), desk), new Row(shop.get(2), desk)];
  window.document.body.append(lamp.element, mug.element);
});

const find = (row, selector) => row.element.querySelector(selector);
const field = (row, name) => find(row, `[name=${name}]`);
function type(row, name, value) {
  field(row, name).value = value;
  field(row, name).dispatchEvent(new window.Event("input", { bubbles: true }));
}
function press(row, name, key, more = {}) {
  const event = new window.KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  field(row, name).dispatchEvent(event);
  return settled();
}
const note = (row, name) => window.document.getElementById(field(row, name).getAttribute("aria-describedby"));

test("Enter saves what was typed, and nothing else", async () => {
  type(lamp, "price", "12.34");
  assert.equal(find(lamp, ".save").hidden, false);
  assert.equal(find(mug, ".save").hidden, true);
  await press(lamp, "price", "Enter");
  assert.deepEqual(calls, [{ method: "PATCH", path: "/products/1", body: { price: "12.34" }, version: 10 }]);
  assert.deepEqual(notices, ["Saved “The lamp”."]);
  assert.equal(find(lamp, ".save").hidden, true);
  await press(lamp, "price", "Enter");
  assert.equal(calls.length, 1, "there is nothing to save");
});

test("what a description has lost is said until the next edit is saved", async () => {
  lamp.desk.api.change = async () => ({ ...product(), version: 11, description: "<p>x</p>", removed: "<script>, <p onclick> (2)" });
  type(lamp, "description", "<p onclick=a()>x</p>");
  await press(lamp, "description", "Enter", { ctrlKey: true });
  const said = find(lamp, ".problem");
  assert.equal(said.textContent, "The description was saved without what the shop does not allow: <script>, <p onclick> (2).");
  assert.equal(said.hidden, false);
  assert.equal(field(lamp, "description").value, "<p>x</p>");
  lamp.desk.api.change = async () => ({ ...product(), version: 12 });
  type(lamp, "description", "y");
  await press(lamp, "description", "Enter", { ctrlKey: true });
  assert.equal(said.textContent, "");
});

test("Enter makes lines in a description, and saves with Ctrl; an input method's Enter is its own", async () => {
  type(lamp, "description", "<p>x</p>");
  await press(lamp, "description", "Enter");
  type(lamp, "title", "ランプ");
  await press(lamp, "title", "Enter", { isComposing: true });
  assert.equal(calls.length, 0);
  await press(lamp, "description", "Enter", { ctrlKey: true });
  assert.deepEqual(calls[0].body, { title: "ランプ", description: "<p>x</p>" });
});

test("Escape undoes the field, and then the product", async () => {
  type(lamp, "price", "1.00");
  type(lamp, "stock", "1");
  type(lamp, "vendor", "Other");
  await press(lamp, "price", "Escape");
  assert.deepEqual([field(lamp, "price").value, field(lamp, "stock").value], ["19.90", "1"]);
  await press(lamp, "price", "Escape");
  assert.deepEqual([field(lamp, "stock").value, field(lamp, "vendor").value], ["7", "Co"]);
  assert.equal(lamp.unsaved, false);
});

test("the arrows go up and down the list", async () => {
  await press(lamp, "price", "ArrowDown");
  await press(mug, "stock", "ArrowUp");
  await press(lamp, "description", "ArrowDown");
  await press(lamp, "vendor", "ArrowDown"); // its own list opens
  assert.deepEqual(notices, ["1 price 1", "2 stock -1"]);
});

test("what is wrong is said at its field, and goes when it is typed over", async () => {
  answers = [new Problem(422, "Invalid input.", { fields: { price: "has more digits than EUR has", vendor: "is too long" } })];
  type(lamp, "price", "1.234");
  type(lamp, "vendor", "x");
  await press(lamp, "price", "Enter");
  assert.equal(field(lamp, "price").getAttribute("aria-invalid"), "true");
  assert.equal(note(lamp, "price").textContent, "Price has more digits than EUR has.");
  assert.equal(note(lamp, "vendor").textContent, "Vendor is too long.");
  assert.match(find(lamp, ".problem").textContent, /^Not saved/);
  assert.equal(field(lamp, "price").value, "1.234");
  type(lamp, "price", "1.23");
  assert.equal(field(lamp, "price").hasAttribute("aria-invalid"), false);
  assert.equal(note(lamp, "price").hidden, true);
  assert.equal(field(lamp, "vendor").hasAttribute("aria-invalid"), true);
});

test("what the server would not see as what it is does not reach it", async () => {
  type(lamp, "stock", "");
  type(lamp, "price", "abc");
  await press(lamp, "stock", "Enter");
  assert.equal(calls.length, 0);
  assert.equal(field(lamp, "stock").getAttribute("aria-invalid"), "true");
  assert.equal(note(lamp, "price").textContent, "Price is not a number such as 19.90.");
});

/** Somebody else has made this of the lamp. */
const elsewhere = (more) => shop.set(1, { ...shop.get(1), version: shop.get(1).version + 5, ...more });

test("a conflict is shown, and mine goes on top when I say so", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00", stock: 3 });
  await press(lamp, "price", "Enter");
  const conflict = find(lamp, ".conflict");
  assert.equal(conflict.hidden, false);
  assert.match(conflict.textContent, /Somebody else has changed this product meanwhile: erp \(token 7\), the sign-in that you use too, /);
  assert.deepEqual([...conflict.querySelectorAll("tbody tr *")].map((e) => e.textContent), ["Price", "€15.00", "12.00"]);
  assert.equal(find(lamp, ".also").textContent, "Changed as well, and taken over: Stock 7 → 3");
  assert.equal(note(lamp, "price").textContent, "Changed elsewhere to €15.00");
  assert.deepEqual([field(lamp, "price").value, field(lamp, "stock").value], ["12.00", "3"]);
  await press(lamp, "price", "Enter");
  assert.equal(calls.length, 1, "it is not saved by habit");
  find(lamp, ".mine").click();
  await settled();
  assert.deepEqual(calls[1], { method: "PATCH", path: "/products/1", body: { price: "12.00" }, version: 15 });
  assert.equal(conflict.hidden, true);
  assert.equal(shop.get(1).stock, 3);
});

test("or theirs is taken", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00" });
  await press(lamp, "price", "Enter");
  find(lamp, ".theirs").click();
  await settled();
  assert.equal(find(lamp, ".conflict").hidden, true);
  assert.deepEqual([field(lamp, "price").value, lamp.unsaved, calls.length], ["15.00", false, 1]);
});

test("what changes elsewhere comes in around what is typed", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00", title: "Their lamp" });
  lamp.heard = 15;
  assert.ok(lamp.behind);
  assert.deepEqual(await lamp.refresh(), ["title", "price"]);
  await settled();
  assert.ok(!lamp.behind);
  assert.deepEqual([field(lamp, "title").value, field(lamp, "price").value], ["Their lamp", "12.00"]);
  assert.equal(note(lamp, "price").textContent, "Changed elsewhere to €15.00");
  assert.ok(field(lamp, "title").classList.contains("is-fresh"));
  assert.match(find(lamp, ".conflict").textContent, /erp/);
});

test("a title is text, wherever it is shown", async () => {
  const title = "<img src=x onerror=alert(1)>";
  type(lamp, "title", "mine");
  elsewhere({ title, vendor: title, sku: title });
  await press(lamp, "title", "Enter");
  assert.equal(lamp.element.querySelectorAll("img").length, 1, "the picture");
  assert.ok(find(lamp, "legend").textContent.includes(title));
  assert.ok(find(lamp, ".conflict").textContent.includes(title));
});

test("who may only read has no buttons, and fields that cannot be typed in", () => {
  may = false;
  lamp.paint();
  for (const name of ["title", "price", "description"]) assert.ok(field(lamp, name).hasAttribute("readonly"), name);
  assert.ok(field(lamp, "published").disabled);
  const buttons = [...lamp.element.querySelectorAll("button")].filter((b) => !b.hidden && !b.closest(".conflict")).map((b) => b.textContent);
  assert.deepEqual(buttons, ["More", "History"]);
});

test("an archived product takes no edits, and can be restored", async () => {
  find(lamp, ".archive").click();
  await settled();
  assert.equal(calls[0].path, "/products/1/archive");
  assert.equal(find(lamp, ".badge").hidden, false);
  assert.ok(field(lamp, "price").hasAttribute("readonly"));
  assert.equal(find(lamp, ".archive").textContent, "Restore");
  assert.equal(find(lamp, ".publish").hidden, true);
});

test("pages are counted, as far as that is known", () => {
  const said = () => find(lamp, ".open").textContent;
  lamp.face.count(1234, true);
  assert.equal(said(), "1,2341,234 open pages");
  lamp.face.count(3, false);
  assert.equal(said(), "≥ 3at least 3 open pages");
  lamp.face.count(0, false);
  assert.equal(said(), "–open pages not known");
});
