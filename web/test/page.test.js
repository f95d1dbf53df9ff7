import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Window } from "happy-dom";
import { MAX_PRODUCTS } from "../client/limits.js";
import { morph } from "../client/morph.js";
import { watchPage } from "../client/page.js";

import { Clock } from "./fakes.js";

let window, document, clock, watched, end, env, observer;

/** @param {number} id */
function product(id, version, inner = "", view = "card") {
  return `<article data-product-id="${id}" data-product-version="${version}" data-view="${view}">${inner}</article>`;
}

function fragment(id, version, inner = "", view = "card", more = {}) {
  return { id, version, view, html: product(id, version, inner, view), ...more };
}

/** Records the subscriptions. */
function watch(shown, take) {
  const entry = { ...shown, take };
  watched.push(entry);
  return () => void watched.splice(watched.indexOf(entry), 1);
}

/** Delivers newer fragments as a port does. Returns how many elements show them. */
function deliver(...fragments) {
  let shown = 0;
  for (const f of fragments) {
    for (const w of watched.filter((w) => w.id === f.id && w.view === f.view)) {
      if (f.version <= w.version && !f.reset) continue;
      w.version = f.version;
      if (w.take(f)) shown++;
    }
  }
  return shown;
}

/** An IntersectionObserver whose entries come from the test. */
class Observer {
  seen = new Set();
  constructor(f, options) { Object.assign(this, { f, options }); observer = this; }
  observe(element) { this.seen.add(element); }
  unobserve(element) { this.seen.delete(element); }
  disconnect() { this.seen.clear(); }
  move(isIntersecting, ...elements) { this.f(elements.map((target) => ({ target, isIntersecting }))); }
}

/** @param {string} html */
function load(html, more = {}) {
  document.body.innerHTML = html;
  const { morph, updated, ...own } = { ...env, ...more };
  watchPage(document, { watch, morph }, updated, end.signal, own);
}

const subscriptions = () => watched.map(({ id, version, view }) => `${view} ${id} ${version}`).sort();
const articles = () => [...document.querySelectorAll("article")];
const versions = () => articles().map((e) => Number(e.dataset.productVersion));
/** Waits until mutations are observed, and lets the page scan. */
const scan = async () => {
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

test("subscribes to each element that shows a product, at its version", () => {
  load(product(1, 10) + product(1, 12) + product(1, 7, "", "detail") + product(2, "x") + product("abc", 3) + product(-4, 3));
  assert.deepEqual(subscriptions(), ["card 1 10", "card 1 12", "card 2 0", "detail 1 7"]);
});

test("updates all elements of the product in that view, and no others", () => {
  load(product(1, 10) + product(2, 10) + product(1, 10) + product(1, 10, "", "detail"));
  assert.equal(deliver(fragment(1, 11)), 2);
  assert.deepEqual(versions(), [11, 10, 11, 10]);
});

test("never shows an older version, except after a reset", () => {
  load(product(1, 10) + product(2, 10));
  const [{ take }] = watched;
  assert.equal(deliver(fragment(1, 12)), 1);
  assert.equal(take(fragment(1, 11)), false);
  assert.deepEqual(versions(), [12, 10]);
  deliver(fragment(1, 5, "", "card", { reset: true }));
  assert.deepEqual(versions(), [5, 10]);
});

test("finds added elements in one scan, and unsubscribes from removed ones", async () => {
  load(product(1, 10));
  document.body.insertAdjacentHTML("beforeend", product(2, 20));
  document.body.insertAdjacentHTML("beforeend", `<div>${product(3, 30)}</div>`);
  await window.happyDOM.waitUntilComplete();
  assert.equal(clock.timers.size, 1);
  clock.run(50);
  assert.deepEqual(subscriptions(), ["card 1 10", "card 2 20", "card 3 30"]);
  articles()[0].remove();
  await scan();
  assert.deepEqual(subscriptions(), ["card 2 20", "card 3 30"]);
  articles()[0].replaceWith(...new window.DOMParser().parseFromString(product(2, 15), "text/html").body.children);
  await scan();
  assert.deepEqual(subscriptions(), ["card 2 15", "card 3 30"]);
});

test("subscribes again when the page changes an element's product or version", async () => {
  load(product(1, 10) + product(2, 20));
  const [first, second] = articles();
  first.dataset.productId = "7";
  first.dataset.productVersion = "3";
  deliver(fragment(2, 25));
  second.dataset.productVersion = "20";
  await scan();
  assert.deepEqual(subscriptions(), ["card 2 20", "card 7 3"]);
});

test("subscribes only to what is on or near the screen, unsubscribes after 10 s, and resumes at the shown version", () => {
  load(product(1, 10) + product(2, 20) + product(3, 30), { IntersectionObserver: Observer });
  assert.equal(observer.options.rootMargin, "100%");
  const [a, b, c] = articles();
  assert.deepEqual(subscriptions(), []);
  observer.move(true, a, b);
  observer.move(false, c);
  clock.run(50);
  assert.deepEqual(subscriptions(), ["card 1 10", "card 2 20"]);
  observer.move(false, a, b);
  clock.run(5_000);
  observer.move(true, b);
  clock.run(4_900);
  assert.deepEqual(subscriptions(), ["card 1 10", "card 2 20"]);
  clock.run(200);
  assert.deepEqual(subscriptions(), ["card 2 20"]);
  deliver(fragment(2, 22));
  observer.move(false, b);
  clock.run(10_100);
  assert.deepEqual(subscriptions(), []);
  observer.move(true, a, b);
  clock.run(50);
  assert.deepEqual(subscriptions(), ["card 1 10", "card 2 22"]);
  c.remove();
});

test("subscribes to the nearest of too many products, and warns once", (t) => {
  t.mock.method(console, "warn", () => {});
  const all = Array.from({ length: MAX_PRODUCTS + 2 }, (_, n) => product(n + 1, 1)).join("");
  load(all, { IntersectionObserver: Observer });
  articles().forEach((e, n) => (e.getBoundingClientRect = () => ({ top: (n - 300) * 100 })));
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(watched.length, MAX_PRODUCTS);
  assert.ok(!watched.some(({ id }) => id < 3)); // the farthest ones
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(console.warn.mock.callCount(), 1);
});

test("holds updates back while an input method composes", () => {
  load(product(1, 10, '<input name="note">') + product(2, 10));
  const input = document.querySelector("input");
  input.dispatchEvent(new window.Event("compositionstart", { bubbles: true }));
  deliver(fragment(1, 11, '<input name="note">'), fragment(2, 11), fragment(1, 12, '<input name="note">'));
  assert.deepEqual(versions(), [10, 11]);
  input.dispatchEvent(new window.Event("compositionend", { bubbles: true }));
  assert.deepEqual(subscriptions(), ["card 1 10", "card 2 11"]); // at the versions shown, so that the hub sends them again
  deliver(fragment(1, 12, '<input name="note">'));
  assert.deepEqual(versions(), [12, 11]);
});

test("a canceled before-update is not repeated; updated reports each change", async () => {
  load(product(1, 10) + product(2, 10));
  const [before, heard] = [[], []];
  let refuses = true;
  document.addEventListener("shelfcast:before-update", (e) => {
    before.push({ ...e.detail, fresh: e.detail.fresh.dataset.productVersion });
    if (e.detail.id === 1 && refuses) e.preventDefault();
  });
  document.addEventListener("shelfcast:updated", (e) => heard.push({ ...e.detail, on: e.target.dataset.productVersion }));
  assert.equal(deliver(fragment(1, 11), fragment(2, 11)), 1);
  assert.deepEqual(versions(), [10, 11]);
  assert.deepEqual(before[0], { id: 1, view: "card", version: 11, previous: 10, fresh: "11" });
  assert.deepEqual(heard, [{ id: 2, view: "card", version: 11, previous: 10, on: "11" }]);
  await scan();
  assert.deepEqual(subscriptions(), ["card 1 11", "card 2 11"]);
  refuses = false;
  deliver(fragment(1, 12));
  assert.deepEqual(heard.at(-1), { id: 1, view: "card", version: 12, previous: 10, on: "12" });
});

test("rejects a fragment of another product", async (t) => {
  t.mock.method(console, "warn", () => {});
  load(product(1, 10) + product(2, 10));
  deliver({ ...fragment(1, 11), html: product(2, 11) }, { ...fragment(2, 11), html: "" });
  assert.deepEqual(versions(), [10, 10]);
  assert.equal(console.warn.mock.callCount(), 2);
  await scan();
  assert.equal(watched.length, 2);
});

test("works with a morph that replaces the element", async () => {
  const calls = [];
  load(product(1, 10) + product(2, 10), {
    morph: (element, fresh) => { calls.push([element.dataset.productVersion, fresh.dataset.productVersion]); element.replaceWith(fresh); },
    updated: (element) => calls.push(element.dataset.productVersion),
  });
  let target;
  document.addEventListener("shelfcast:updated", (e) => (target = e.target));
  deliver(fragment(1, 11));
  assert.deepEqual(calls, [["10", "11"], "11"]);
  assert.equal(target, articles()[0]);
  await scan();
  assert.deepEqual(subscriptions(), ["card 1 11", "card 2 10"]);
});

test("keeps the subscription of an element that is replaced", async () => {
  load(`<div data-product-id="1" data-view="card"></div><div data-product-id="2" data-view="card"></div>`, { IntersectionObserver: Observer });
  observer.move(true, ...document.querySelectorAll("div"));
  clock.run(50);
  const before = [...watched];
  deliver(fragment(1, 11), fragment(2, 21));
  await scan();
  assert.deepEqual(versions(), [11, 21]);
  assert.deepEqual(watched, before);
  deliver(fragment(1, 12));
  assert.deepEqual(versions(), [12, 21]);
  assert.ok(articles().every((e) => observer.seen.has(e)));
  observer.move(false, articles()[0]);
  clock.run(10_100);
  assert.deepEqual(subscriptions(), ["card 2 21"]);
});

test("announces changes on the screen politely and together", () => {
  const price = (text, stock = "In stock") => `<b data-live-announce="Price of it">${text}</b><i data-live-announce="Stock">${stock}</i>`;
  load(product(1, 10, price("€1")) + product(2, 10, price("€2")) + product(3, 10, price("€3")) + product(4, 10));
  articles()[2].getBoundingClientRect = () => ({ top: 5000, bottom: 5100 });
  const region = () => document.querySelector("[aria-live]");
  deliver(fragment(1, 11, price("€5")), fragment(3, 11, price("€6")), fragment(4, 11));
  clock.run(500);
  assert.equal(region().getAttribute("aria-live"), "polite");
  assert.equal(region().textContent, "");
  deliver(fragment(1, 12, price("€7")), fragment(2, 11, price("€2", "Sold out")));
  clock.run(500);
  assert.equal(region().textContent, "Price of it: €7. Stock: Sold out");
  deliver(fragment(1, 13, price("€7")));
  clock.run(1_000);
  assert.equal(region().textContent, "Price of it: €7. Stock: Sold out");
  assert.equal(document.querySelectorAll("[aria-live]").length, 1);
});

test("announces at most five changes at once", () => {
  const price = (text) => `<b data-live-announce="Price">${text}</b>`;
  const ids = Array.from({ length: 9 }, (_, n) => n + 1);
  load(ids.map((id) => product(id, 10, price("€1"))).join(""));
  deliver(...ids.map((id) => fragment(id, 11, price(`€${id}0`))));
  clock.run(1_000);
  assert.equal(document.querySelector("[aria-live]").textContent, "Price: €50. Price: €60. Price: €70. Price: €80. Price: €90");
});

test("ends all subscriptions when it is aborted", async () => {
  load(product(1, 10) + product(2, 20), { IntersectionObserver: Observer });
  observer.move(true, ...articles());
  clock.run(50);
  assert.equal(watched.length, 2);
  end.abort();
  assert.equal(watched.length, 0);
  assert.equal(observer.seen.size, 0);
  document.body.insertAdjacentHTML("beforeend", product(3, 30));
  await scan();
  assert.equal(watched.length, 0);
});
