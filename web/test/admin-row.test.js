import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { Problem } from "../assets/admin-api.js";
import { Row } from "../assets/admin-row.js";
import { Formatter } from "../assets/admin-format.js";

const html = readFileSync(new URL("../templates/admin.html", import.meta.url), "utf8");
const product = (more = {}) => ({
  id: 1, version: 10, sku: "lamp", title: "The lamp", description: "", vendor: "Co", image_url: "", price: "19.90",
  compare_at_price: null, currency: "EUR", stock: 7, published: true, archived: false, created_at: "2026-11-24T09:30:00Z", ...more,
});

let shop, calls, notices, writable, answers, window, lamp, mug;

/** Waits until everything has happened that needs no timer. */
async function settled() {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
}

beforeEach(() => {
  window = new Window({ url: "http://shop.test/admin" });
  for (const name of ["window", "document", "HTMLInputElement", "HTMLTextAreaElement"]) globalThis[name] = name === "window" ? window : window[name];
  window.document.body.innerHTML = html.slice(html.indexOf("<template"), html.indexOf("</body>"));
  [calls, notices, writable, answers] = [[], [], true, []];
  shop = new Map([[1, product()], [2, product({ id: 2, sku: "mug", title: "The mug" })]]);
  const context = {
    format: new Formatter("en"), caller: () => ({ key: "token:7", writable }), notify: (text) => notices.push(text), onEdit: () => {}, confirm: async () => true,
    showHistory: () => {}, moveFocus: (row, name, step) => notices.push(`${row.id} ${name} ${step}`),
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
  [lamp, mug] = [new Row(shop.get(1), context), new Row(shop.get(2), context)];
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

test("Enter saves the edited fields only", async () => {
  type(lamp, "price", "12.34");
  assert.equal(find(lamp, ".save").hidden, false);
  assert.equal(find(mug, ".save").hidden, true);
  await press(lamp, "price", "Enter");
  assert.deepEqual(calls, [{ method: "PATCH", path: "/products/1", body: { price: "12.34" }, version: 10 }]);
  assert.deepEqual(notices, ["Saved “The lamp”."]);
  assert.equal(find(lamp, ".save").hidden, true);
  await press(lamp, "price", "Enter");
  assert.equal(calls.length, 1, "nothing changed");
});

test("shows what was removed from a description until the next save", async () => {
  lamp.context.api.change = async () => ({ ...product(), version: 11, description: "<p>x</p>", removed: "<script>, <p onclick> (2)" });
  type(lamp, "description", "<p onclick=a()>x</p>");
  await press(lamp, "description", "Enter", { ctrlKey: true });
  const said = find(lamp, ".problem");
  assert.equal(said.textContent, "The description was saved without content that is not allowed: <script>, <p onclick> (2).");
  assert.equal(said.hidden, false);
  assert.equal(field(lamp, "description").value, "<p>x</p>");
  lamp.context.api.change = async () => ({ ...product(), version: 12 });
  type(lamp, "description", "y");
  await press(lamp, "description", "Enter", { ctrlKey: true });
  assert.equal(said.textContent, "");
});

test("in a description only Ctrl+Enter saves, and Enter of an input method never does", async () => {
  type(lamp, "description", "<p>x</p>");
  await press(lamp, "description", "Enter");
  type(lamp, "title", "ランプ");
  await press(lamp, "title", "Enter", { isComposing: true });
  assert.equal(calls.length, 0);
  await press(lamp, "description", "Enter", { ctrlKey: true });
  assert.deepEqual(calls[0].body, { title: "ランプ", description: "<p>x</p>" });
});

test("Escape reverts the field, and then the product", async () => {
  type(lamp, "price", "1.00");
  type(lamp, "stock", "1");
  type(lamp, "vendor", "Other");
  await press(lamp, "price", "Escape");
  assert.deepEqual([field(lamp, "price").value, field(lamp, "stock").value], ["19.90", "1"]);
  await press(lamp, "price", "Escape");
  assert.deepEqual([field(lamp, "stock").value, field(lamp, "vendor").value], ["7", "Co"]);
  assert.equal(lamp.unsaved, false);
});

test("arrow keys move the focus between rows", async () => {
  await press(lamp, "price", "ArrowDown");
  await press(mug, "stock", "ArrowUp");
  await press(lamp, "description", "ArrowDown");
  await press(lamp, "vendor", "ArrowDown"); // the input opens its list
  assert.deepEqual(notices, ["1 price 1", "2 stock -1"]);
});

test("shows errors at their fields until these are edited", async () => {
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

test("does not send invalid numbers", async () => {
  type(lamp, "stock", "");
  type(lamp, "price", "abc");
  await press(lamp, "stock", "Enter");
  assert.equal(calls.length, 0);
  assert.equal(field(lamp, "stock").getAttribute("aria-invalid"), "true");
  assert.equal(note(lamp, "price").textContent, "Price must be a number, such as 19.90.");
});

/** Someone else saves the lamp. */
const elsewhere = (more) => shop.set(1, { ...shop.get(1), version: shop.get(1).version + 5, ...more });

test("shows a conflict, and Keep mine saves on top of it", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00", stock: 3 });
  await press(lamp, "price", "Enter");
  const conflict = find(lamp, ".conflict");
  assert.equal(conflict.hidden, false);
  assert.match(conflict.textContent, /This product was changed by erp \(token 7\), your own sign-in, /);
  assert.deepEqual([...conflict.querySelectorAll("tbody tr *")].map((e) => e.textContent), ["Price", "€15.00", "12.00"]);
  assert.equal(find(lamp, ".also").textContent, "Also changed, and updated here: Stock 7 → 3");
  assert.equal(note(lamp, "price").textContent, "Someone else changed this to €15.00");
  assert.deepEqual([field(lamp, "price").value, field(lamp, "stock").value], ["12.00", "3"]);
  await press(lamp, "price", "Enter");
  assert.equal(calls.length, 1, "Enter does not resolve a conflict");
  find(lamp, ".mine").click();
  await settled();
  assert.deepEqual(calls[1], { method: "PATCH", path: "/products/1", body: { price: "12.00" }, version: 15 });
  assert.equal(conflict.hidden, true);
  assert.equal(shop.get(1).stock, 3);
});

test("Use theirs discards the edit", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00" });
  await press(lamp, "price", "Enter");
  find(lamp, ".theirs").click();
  await settled();
  assert.equal(find(lamp, ".conflict").hidden, true);
  assert.deepEqual([field(lamp, "price").value, lamp.unsaved, calls.length], ["15.00", false, 1]);
});

test("a reload updates the other fields and keeps the edit", async () => {
  type(lamp, "price", "12.00");
  elsewhere({ price: "15.00", title: "Their lamp" });
  lamp.newest = 15;
  assert.ok(lamp.stale);
  assert.deepEqual(await lamp.refresh(), ["title", "price"]);
  await settled();
  assert.ok(!lamp.stale);
  assert.deepEqual([field(lamp, "title").value, field(lamp, "price").value], ["Their lamp", "12.00"]);
  assert.equal(note(lamp, "price").textContent, "Someone else changed this to €15.00");
  assert.ok(field(lamp, "title").classList.contains("is-fresh"));
  assert.match(find(lamp, ".conflict").textContent, /erp/);
});

test("never shows a title as HTML", async () => {
  const title = "<img src=x onerror=alert(1)>";
  type(lamp, "title", "mine");
  elsewhere({ title, vendor: title, sku: title });
  await press(lamp, "title", "Enter");
  assert.equal(lamp.element.querySelectorAll("img").length, 1, "the picture");
  assert.ok(find(lamp, "legend").textContent.includes(title));
  assert.ok(find(lamp, ".conflict").textContent.includes(title));
});

test("a read-only person gets read-only fields and no buttons", () => {
  writable = false;
  lamp.render();
  for (const name of ["title", "price", "description"]) assert.ok(field(lamp, name).hasAttribute("readonly"), name);
  assert.ok(field(lamp, "published").disabled);
  const buttons = [...lamp.element.querySelectorAll("button")].filter((b) => !b.hidden && !b.closest(".conflict")).map((b) => b.textContent);
  assert.deepEqual(buttons, ["More", "History"]);
});

test("an archived product is read-only and can be restored", async () => {
  find(lamp, ".archive").click();
  await settled();
  assert.equal(calls[0].path, "/products/1/archive");
  assert.equal(find(lamp, ".badge").hidden, false);
  assert.ok(field(lamp, "price").hasAttribute("readonly"));
  assert.equal(find(lamp, ".archive").textContent, "Restore");
  assert.equal(find(lamp, ".publish").hidden, true);
});

test("shows page counts, also incomplete ones", () => {
  const said = () => find(lamp, ".open").textContent;
  lamp.view.setPageCount(1234, true);
  assert.equal(said(), "1,2341,234 open pages");
  lamp.view.setPageCount(3, false);
  assert.equal(said(), "≥ 3at least 3 open pages");
  lamp.view.setPageCount(0, false);
  assert.equal(said(), "–number of open pages unknown");
});
