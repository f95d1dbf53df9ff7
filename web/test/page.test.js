import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { MAX_PRODUCTS } from "../client/limits.js";
import { morph } from "../client/morph.js";
import { page } from "../client/page.js";

import { Clock } from "./clock.js";

let window, document, clock, watched, end, env, observer;

/** @param {number} id */
function product(id, version, inner = "", view = "card") {
  return `<article data-product-id="${id}" data-product-version="${version}" data-view="${view}">${inner}</article>`;
}

function fragment(id, version, inner = "", view = "card", more = {}) {
  return { id, version, view, html: product(id, version, inner, view), ...more };
}

/** Watches as a tab does, and remembers who. */
function watch(shown, take) {
  const entry = { ...shown, take };
  watched.push(entry);
  return () => void watched.splice(watched.indexOf(entry), 1);
}

/** Who watches is handed what is news to him; how many show it now. */
function say(...fragments) {
  let taken = 0;
  for (const f of fragments) {
    for (const w of watched.filter((w) => w.id === f.id && w.view === f.view)) {
      if (f.version <= w.version && !f.reset) continue;
      w.version = f.version;
      if (w.take(f)) taken++;
    }
  }
  return taken;
}

/** An observer of intersections whose screen is the test's. */
class Observer {
  seen = new Set();
  constructor(f, options) { Object.assign(this, { f, options }); observer = this; }
  observe(element) { this.seen.add(element); }
  unobserve(element) { this.seen.delete(element); }
  disconnect() { this.seen.clear(); }
  move(isIntersecting, ...elements) { this.f(elements.map((target) => ({ target, isIntersecting }))); }
}

/** @param {string} html */
function show(html, more = {}) {
  document.body.innerHTML = html;
  const { morph, updated, ...own } = { ...env, ...more };
  page(document, { watch, morph }, updated, end.signal, own);
}

const shown = () => watched.map(({ id, version, view }) => `${view} ${id} ${version}`).sort();
const articles = () => [...document.querySelectorAll("article")];
const versions = () => articles().map((e) => Number(e.dataset.productVersion));
/** Mutations are told in a task of their own; then the page looks. */
const look = async () => {
  await window.happyDOM.waitUntilComplete();
  clock.run(50);
};

beforeEach(() => {
  window = new Window({ url: "http://shop.test/shop" });
  ({ document } = window);
  globalThis.CustomEvent = window.CustomEvent;
  clock = new Clock();
  watched = [];
  end = new window.AbortController();
  env = { setTimeout: clock.later, morph, updated() {}, MutationObserver: window.MutationObserver };
});

test("it watches each element that shows a product, at the version that it shows", () => {
  show(product(1, 10) + product(1, 12) + product(1, 7, "", "detail") + product(2, "x") + product("abc", 3) + product(-4, 3));
  assert.deepEqual(shown(), ["card 1 10", "card 1 12", "card 2 0", "detail 1 7"]);
});

test("all elements of the product in that view are updated, and no others", () => {
  show(product(1, 10) + product(2, 10) + product(1, 10) + product(1, 10, "", "detail"));
  assert.equal(say(fragment(1, 11)), 2);
  assert.deepEqual(versions(), [11, 10, 11, 10]);
});

test("no element goes back, unless the shop itself did", () => {
  show(product(1, 10) + product(2, 10));
  const [{ take }] = watched;
  assert.equal(say(fragment(1, 12)), 1);
  assert.equal(take(fragment(1, 11)), false);
  assert.deepEqual(versions(), [12, 10]);
  say(fragment(1, 5, "", "card", { reset: true }));
  assert.deepEqual(versions(), [5, 10]);
});

test("what is added later is found, in one look; what leaves is watched no more", async () => {
  show(product(1, 10));
  document.body.insertAdjacentHTML("beforeend", product(2, 20));
  document.body.insertAdjacentHTML("beforeend", `<div>${product(3, 30)}</div>`);
  await window.happyDOM.waitUntilComplete();
  assert.equal(clock.timers.size, 1);
  clock.run(50);
  assert.deepEqual(shown(), ["card 1 10", "card 2 20", "card 3 30"]);
  articles()[0].remove();
  await look();
  assert.deepEqual(shown(), ["card 2 20", "card 3 30"]);
  articles()[0].replaceWith(...new window.DOMParser().parseFromString(product(2, 15), "text/html").body.children);
  await look();
  assert.deepEqual(shown(), ["card 2 15", "card 3 30"]);
});

test("an element that the page makes another product, or an older one, is watched as what it is", async () => {
  show(product(1, 10) + product(2, 20));
  const [first, second] = articles();
  first.dataset.productId = "7";
  first.dataset.productVersion = "3";
  say(fragment(2, 25));
  second.dataset.productVersion = "20";
  await look();
  assert.deepEqual(shown(), ["card 2 20", "card 7 3"]);
});

test("only what is on or near the screen is watched, what leaves it not at once, and what comes back as it is", () => {
  show(product(1, 10) + product(2, 20) + product(3, 30), { IntersectionObserver: Observer });
  assert.equal(observer.options.rootMargin, "100%");
  const [a, b, c] = articles();
  assert.deepEqual(shown(), []);
  observer.move(true, a, b);
  observer.move(false, c);
  clock.run(50);
  assert.deepEqual(shown(), ["card 1 10", "card 2 20"]);
  observer.move(false, a, b);
  clock.run(5_000);
  observer.move(true, b);
  clock.run(4_900);
  assert.deepEqual(shown(), ["card 1 10", "card 2 20"]);
  clock.run(200);
  assert.deepEqual(shown(), ["card 2 20"]);
  say(fragment(2, 22));
  observer.move(false, b);
  clock.run(10_100);
  assert.deepEqual(shown(), []);
  observer.move(true, a, b);
  clock.run(50);
  assert.deepEqual(shown(), ["card 1 10", "card 2 22"]);
  c.remove();
});

test("of too many the nearest are watched, and that is said once", (t) => {
  t.mock.method(console, "warn", () => {});
  const all = Array.from({ length: MAX_PRODUCTS + 2 }, (_, n) => product(n + 1, 1)).join("");
  show(all, { IntersectionObserver: Observer });
  articles().forEach((e, n) => (e.getBoundingClientRect = () => ({ top: (n - 300) * 100 })));
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(watched.length, MAX_PRODUCTS);
  assert.ok(!watched.some(({ id }) => id < 3)); // the furthest of them
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(console.warn.mock.callCount(), 1);
});

test("a composition is not interrupted: the updates come when it ends", () => {
  show(product(1, 10, '<input name="note">') + product(2, 10));
  const input = document.querySelector("input");
  input.dispatchEvent(new window.Event("compositionstart", { bubbles: true }));
  say(fragment(1, 11, '<input name="note">'), fragment(2, 11), fragment(1, 12, '<input name="note">'));
  assert.deepEqual(versions(), [10, 11]);
  input.dispatchEvent(new window.Event("compositionend", { bubbles: true }));
  assert.deepEqual(shown(), ["card 1 10", "card 2 11"]); // who has it gives it again to who shows an older one
  say(fragment(1, 12, '<input name="note">'));
  assert.deepEqual(versions(), [12, 11]);
});

test("a page may refuse an update, which is not asked for again, and hears of each", async () => {
  show(product(1, 10) + product(2, 10));
  const [before, heard] = [[], []];
  let refuses = true;
  document.addEventListener("shelfcast:before-update", (e) => {
    before.push({ ...e.detail, fresh: e.detail.fresh.dataset.productVersion });
    if (e.detail.id === 1 && refuses) e.preventDefault();
  });
  document.addEventListener("shelfcast:updated", (e) => heard.push({ ...e.detail, on: e.target.dataset.productVersion }));
  assert.equal(say(fragment(1, 11), fragment(2, 11)), 1);
  assert.deepEqual(versions(), [10, 11]);
  assert.deepEqual(before[0], { id: 1, view: "card", version: 11, previous: 10, fresh: "11" });
  assert.deepEqual(heard, [{ id: 2, view: "card", version: 11, previous: 10, on: "11" }]);
  await look();
  assert.deepEqual(shown(), ["card 1 11", "card 2 11"]);
  refuses = false;
  say(fragment(1, 12));
  assert.deepEqual(heard.at(-1), { id: 1, view: "card", version: 12, previous: 10, on: "12" });
});

test("a fragment of another product is not put in", async (t) => {
  t.mock.method(console, "warn", () => {});
  show(product(1, 10) + product(2, 10));
  say({ ...fragment(1, 11), html: product(2, 11) }, { ...fragment(2, 11), html: "" });
  assert.deepEqual(versions(), [10, 10]);
  assert.equal(console.warn.mock.callCount(), 2);
  await look();
  assert.equal(watched.length, 2);
});

test("the morph may be another's, and a new root is found again", async () => {
  const calls = [];
  show(product(1, 10) + product(2, 10), {
    morph: (element, fresh) => { calls.push([element.dataset.productVersion, fresh.dataset.productVersion]); element.replaceWith(fresh); },
    updated: (element) => calls.push(element.dataset.productVersion),
  });
  let target;
  document.addEventListener("shelfcast:updated", (e) => (target = e.target));
  say(fragment(1, 11));
  assert.deepEqual(calls, [["10", "11"], "11"]);
  assert.equal(target, articles()[0]);
  await look();
  assert.deepEqual(shown(), ["card 1 11", "card 2 10"]);
});

test("an element that is replaced, as what fills itself is, stays watched", async () => {
  show(`<div data-product-id="1" data-view="card"></div><div data-product-id="2" data-view="card"></div>`, { IntersectionObserver: Observer });
  observer.move(true, ...document.querySelectorAll("div"));
  clock.run(50);
  const before = [...watched];
  say(fragment(1, 11), fragment(2, 21));
  await look();
  assert.deepEqual(versions(), [11, 21]);
  assert.deepEqual(watched, before);
  say(fragment(1, 12));
  assert.deepEqual(versions(), [12, 21]);
  assert.ok(articles().every((e) => observer.seen.has(e)));
  observer.move(false, articles()[0]);
  clock.run(10_100);
  assert.deepEqual(shown(), ["card 2 21"]);
});

test("what has changed is said politely, together, and only of what is on the screen", () => {
  const price = (text, stock = "In stock") => `<b data-live-announce="Price of it">${text}</b><i data-live-announce="Stock">${stock}</i>`;
  show(product(1, 10, price("€1")) + product(2, 10, price("€2")) + product(3, 10, price("€3")) + product(4, 10));
  articles()[2].getBoundingClientRect = () => ({ top: 5000, bottom: 5100 });
  const region = () => document.querySelector("[aria-live]");
  say(fragment(1, 11, price("€5")), fragment(3, 11, price("€6")), fragment(4, 11));
  clock.run(500);
  assert.equal(region().getAttribute("aria-live"), "polite");
  assert.equal(region().textContent, "");
  say(fragment(1, 12, price("€7")), fragment(2, 11, price("€2", "Sold out")));
  clock.run(500);
  assert.equal(region().textContent, "Price of it: €7. Stock: Sold out");
  say(fragment(1, 13, price("€7")));
  clock.run(1_000);
  assert.equal(region().textContent, "Price of it: €7. Stock: Sold out");
  assert.equal(document.querySelectorAll("[aria-live]").length, 1);
});

test("at most five things are said at once", () => {
  const price = (text) => `<b data-live-announce="Price">${text}</b>`;
  const ids = Array.from({ length: 9 }, (_, n) => n + 1);
  show(ids.map((id) => product(id, 10, price("€1"))).join(""));
  say(...ids.map((id) => fragment(id, 11, price(`€${id}0`))));
  clock.run(1_000);
  assert.equal(document.querySelector("[aria-live]").textContent, "Price: €50. Price: €60. Price: €70. Price: €80. Price: €90");
});

test("when it ends, nothing is watched and nothing found", async () => {
  show(product(1, 10) + product(2, 20), { IntersectionObserver: Observer });
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(watched.length, 2);
  end.abort();
  assert.equal(watched.length, 0);
  assert.equal(observer.seen.size, 0);
  document.body.insertAdjacentHTML("beforeend", product(3, 30));
  await look();
  assert.equal(watched.length, 0);
});
