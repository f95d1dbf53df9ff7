import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { Page } from "../assets/page.js";

let document, page;

/** @param {number} id */
function product(id, version, inner = "", view = "card") {
  return `<article data-product-id="${id}" data-product-version="${version}" data-view="${view}">${inner}</article>`;
}

function fragment(id, version, inner = "", view = "card") {
  return { id, version, view, html: product(id, version, inner, view) };
}

/** @param {string} html */
function show(html) {
  document.body.innerHTML = html;
  page = new Page(document);
}

const versions = () => [...document.querySelectorAll("article")].map((e) => Number(e.dataset.productVersion));

beforeEach(() => {
  const window = new Window({ url: "http://shop.test/shop" });
  document = window.document;
  globalThis.window = window;
  globalThis.CustomEvent = window.CustomEvent;
});

test("it says each product once a view, at the oldest version shown", () => {
  show(product(1, 10) + product(1, 12) + product(1, 7, "", "detail") + product(2, "x") + product("abc", 3) + product(-4, 3));
  assert.deepEqual(page.shown(), [
    { id: 1, version: 10, view: "card" },
    { id: 1, version: 7, view: "detail" },
    { id: 2, version: 0, view: "card" },
  ]);
});

test("all elements of the product in that view are replaced, and no others", () => {
  show(product(1, 10) + product(2, 10) + product(1, 10) + product(1, 10, "", "detail"));
  page.take([fragment(1, 11)]);
  assert.deepEqual(versions(), [11, 10, 11, 10]);
});

test("no element goes back, unless the shop itself did", () => {
  show(product(1, 10) + product(2, 10));
  const newer = fragment(1, 12);
  assert.deepEqual(page.take([newer, fragment(1, 11), fragment(2, 10), fragment(2, 9)]), [newer]);
  assert.deepEqual(versions(), [12, 10]);
  page.take([{ ...fragment(1, 5), reset: true }]);
  assert.deepEqual(versions(), [5, 10]);
});

test("focus, caret and what was typed stay; what was not touched follows", () => {
  const form = (quantity, note) =>
    `<b>${note}</b><input name="quantity" value="${quantity}"><input name="note" value="${note}"><textarea name="t"></textarea>`;
  show(product(1, 10, form(1, "old")) + product(2, 10, form(1, "old")));
  const note = document.querySelector("input[name=note]");
  note.value = "for my sister";
  note.focus();
  note.setSelectionRange(4, 6);
  document.querySelectorAll("textarea")[1].value = "untouched by the update of another";
  page.take([fragment(1, 11, form(5, "new"))]);

  const [quantity, kept] = document.querySelectorAll("article input");
  assert.equal(document.querySelector("b").textContent, "new");
  assert.equal(quantity.value, "5");
  assert.equal(kept.value, "for my sister");
  assert.notEqual(kept, note);
  assert.equal(document.activeElement, kept);
  assert.deepEqual([kept.selectionStart, kept.selectionEnd], [4, 6]);
  assert.equal(document.querySelectorAll("textarea")[1].value, "untouched by the update of another");
});

test("focus is not taken from elsewhere", () => {
  show(`<input id="search">${product(1, 10, '<input name="quantity">')}`);
  document.querySelector("#search").focus();
  page.take([fragment(1, 11, '<input name="quantity">')]);
  assert.equal(document.activeElement.id, "search");
});

test("focus on something without a name is found by its place", () => {
  const inner = '<p><a href="#a">a</a><a href="#b">b</a></p>';
  show(product(1, 10, inner));
  document.querySelectorAll("a")[1].focus();
  page.take([fragment(1, 11, inner)]);
  assert.equal(document.activeElement.getAttribute("href"), "#b");
});

test("choices and opened details stay", () => {
  const inner = `<input type="checkbox" name="gift"><input type="radio" name="size" value="s" checked><input type="radio" name="size" value="m">
    <select name="colour"><option>red<option>blue</select><details><summary>More</summary></details><details open><summary>x</summary></details>`;
  show(product(1, 10, inner));
  document.querySelector("[name=gift]").checked = true;
  document.querySelectorAll("[name=size]")[1].checked = true;
  document.querySelector("select").value = "blue";
  document.querySelectorAll("details")[0].open = true;
  document.querySelectorAll("details")[1].open = false;
  page.take([fragment(1, 11, inner)]);
  assert.deepEqual(versions(), [11]);
  assert.equal(document.querySelector("[name=gift]").checked, true);
  assert.deepEqual([...document.querySelectorAll("[name=size]")].map((r) => r.checked), [false, true]);
  assert.equal(document.querySelector("select").value, "blue");
  assert.deepEqual([...document.querySelectorAll("details")].map((d) => d.open), [true, false]);
});

test("a composition is not interrupted: the update comes when it ends", () => {
  show(product(1, 10, '<input name="note">') + product(2, 10));
  const input = document.querySelector("input");
  input.dispatchEvent(new window.Event("compositionstart", { bubbles: true }));
  page.take([fragment(1, 11, '<input name="note">'), fragment(2, 11)]);
  assert.deepEqual(versions(), [10, 11]);
  input.dispatchEvent(new window.Event("compositionend", { bubbles: true }));
  assert.deepEqual(versions(), [11, 11]);
});

test("a page may refuse an update, and hears of each", () => {
  show(product(1, 10) + product(2, 10));
  const heard = [];
  document.addEventListener("shelfcast:before-update", (e) => e.detail.id === 1 && e.preventDefault());
  document.addEventListener("shelfcast:updated", (e) => heard.push(e.detail));
  page.take([fragment(1, 11), fragment(2, 11)]);
  assert.deepEqual(versions(), [10, 11]);
  assert.deepEqual(heard, [{ id: 2, view: "card", version: 11, previous: 10 }]);
});

test("a fragment of another product is not put in", (t) => {
  t.mock.method(console, "warn", () => {});
  show(product(1, 10) + product(2, 10));
  page.take([{ ...fragment(1, 11), html: product(2, 11) }, { ...fragment(2, 11), html: "" }]);
  assert.deepEqual(versions(), [10, 10]);
  assert.equal(console.warn.mock.callCount(), 2);
});
