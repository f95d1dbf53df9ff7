import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import fc from "fast-check";
import { Window } from "happy-dom";
import { morph } from "../client/morph.js";
import { stories, play } from "./fragments.js";

let document, root;

beforeEach(() => {
  ({ document } = new Window({ url: "http://shop.test/shop" }));
});

/** Two sections: one that changes, and its neighbor. */
function show(inner) {
  document.body.innerHTML = `<article id="p" class="card">${inner}</article><article>${inner}</article>`;
  root = document.querySelector("article");
}

function become(inner, cls = "card") {
  const holder = document.createElement("template");
  holder.innerHTML = `<article id="p" class="${cls}">${inner}</article>`;
  morph(root, holder.content.firstElementChild);
}

const $ = (selector) => root.querySelector(selector);

test("makes the element equal to the new HTML in place, and changes nothing else", () => {
  const inner = `<a class="picture" href="/1"><img src="1.jpg"></a><h2 class="title">Old</h2><p class="price">€1</p>`;
  show(inner);
  const [other] = [...document.querySelectorAll("article")].slice(1);
  const was = other.outerHTML;
  const [title, img, text] = [$(".title"), $("img"), $(".title").firstChild];
  become(`<a class="picture" href="/2"><img src="1.jpg" alt="x"></a><!-- new --><h2 class="title">New</h2><p class="price">€2<s>€1</s></p>`, "card is-new");
  assert.equal(root.outerHTML, `<article id="p" class="card is-new"><a class="picture" href="/2"><img src="1.jpg" alt="x"></a><!-- new --><h2 class="title">New</h2><p class="price">€2<s>€1</s></p></article>`);
  assert.deepEqual([$(".title"), $("img"), $(".title").firstChild], [title, img, text]);
  assert.equal(document.querySelector("article"), root);
  assert.equal(other.outerHTML, was);
});

test("does not touch equal nodes: pictures and frames are not loaded again", () => {
  show(`<iframe src="about:blank"></iframe><video src="a.mp4"></video><p>1</p>`);
  const set = [];
  for (const e of root.querySelectorAll("*")) e.setAttribute = (...args) => set.push(args);
  become(`<iframe src="about:blank"></iframe><video src="a.mp4"></video><p>2</p>`);
  assert.deepEqual(set, []);
});

test("keeps focus, caret and input; fields that nobody touched follow the new HTML", () => {
  const form = (quantity, note) =>
    `<b>${note}</b><input name="quantity" value="${quantity}"><input name="note" value="${note}"><textarea name="t">${note}</textarea>`;
  show(form(1, "old"));
  const note = $("input[name=note]");
  note.value = "for my sister";
  note.focus();
  note.setSelectionRange(4, 6);
  become(form(5, "new"));
  assert.equal($("b").textContent, "new");
  assert.equal($("[name=quantity]").value, "5");
  assert.equal($("textarea").value, "new");
  assert.equal($("[name=note]"), note);
  assert.equal(note.value, "for my sister");
  assert.equal(document.activeElement, note);
  assert.deepEqual([note.selectionStart, note.selectionEnd], [4, 6]);
});

test("does not take the focus from elsewhere, and keeps it on elements without a name", () => {
  show(`<p><a href="#a">a</a><a href="#b">b</a></p>`);
  const [, link] = root.querySelectorAll("a");
  link.focus();
  become(`<p>Now <a href="#a">a</a><a href="#b">b!</a></p>`);
  assert.equal(document.activeElement, link);
  assert.equal(link.textContent, "b!");
  document.body.insertAdjacentHTML("beforeend", "<input>");
  document.querySelector("body > input").focus();
  become(`<p><a href="#a">a</a></p>`);
  assert.equal(document.activeElement, document.querySelector("body > input"));
});

test("keeps choices and opened details; defaults that nobody touched follow the new HTML", () => {
  const inner = (gift, size, colour) => `<input type="checkbox" name="gift"${gift}>
    ${["s", "m", "l"].map((s) => `<input type="radio" name="size" value="${s}"${s === size ? " checked" : ""}>`).join("")}
    <select name="colour">${["red", "blue", "green"].map((c) => `<option${c === colour ? " selected" : ""}>${c}</option>`).join("")}</select>
    <details><summary>More</summary></details><details open><summary>x</summary></details>`;
  show(inner("", "s", ""));
  $("[name=size][value=m]").checked = true;
  $("select").value = "blue";
  const [a, b] = root.querySelectorAll("details");
  a.open = true;
  b.open = false;
  become(inner(" checked", "l", "green"));
  assert.equal($("[name=gift]").checked, true);
  assert.deepEqual([...root.querySelectorAll("[name=size]")].filter((r) => r.checked).map((r) => r.value), ["m"]);
  assert.equal($("select").value, "blue");
  assert.deepEqual([...root.querySelectorAll("details")].map((d) => d.open), [true, false]);
  show(inner("", "s", ""));
  become(inner("", "l", "green"));
  assert.equal($("select").value, "green");
  assert.deepEqual([...root.querySelectorAll("[name=size]")].filter((r) => r.checked).map((r) => r.value), ["l"]);
});

test("falls back to the default when the chosen option is gone", () => {
  const select = (...colours) => `<select name="c">${colours.map((c) => `<option>${c}</option>`).join("")}</select>`;
  show(select("red", "blue"));
  $("select").value = "blue";
  become(select("red", "green"));
  assert.equal($("select").value, "red");
  const radios = (...sizes) => sizes.map((s, n) => `<input type="radio" name="size" value="${s}"${n ? "" : " checked"}>`).join("");
  show(radios("s", "m"));
  $("[value=m]").checked = true;
  become(radios("s", "l"));
  assert.deepEqual([$("[value=s]").checked, $("[value=l]").checked], [true, false]);
});

test("matches list items by key, wherever they move", () => {
  const list = (...keys) => `<ul>${keys.map((k) => `<li data-key="${k}"><input></li>`).join("")}</ul>`;
  show(list("a", "b", "c", "d"));
  const inputs = Object.fromEntries([...root.querySelectorAll("li")].map((li) => [li.dataset.key, li.firstChild]));
  inputs.b.value = "typed in b";
  inputs.d.focus();
  become(list("d", "c", "e", "b"));
  const now = [...root.querySelectorAll("li")];
  assert.deepEqual(now.map((li) => li.dataset.key), ["d", "c", "e", "b"]);
  assert.deepEqual([now[0], now[1], now[3]].map((li) => li.firstChild), [inputs.d, inputs.c, inputs.b]);
  assert.equal(now[3].firstChild.value, "typed in b");
  assert.equal(document.activeElement, inputs.d);
});

test("removing an item does not move the others", () => {
  const list = (...keys) => keys.map((k) => `<p data-key="${k}">${k}</p>`).join("");
  show(list("a", "b", "c"));
  root.insertBefore = () => assert.fail("moved");
  become(list("b", "c"));
  assert.equal(root.textContent, "bc");
});

test("moves nodes with moveBefore where the browser has it", () => {
  const list = (...keys) => keys.map((k) => `<p data-key="${k}">${k}</p>`).join("");
  show(list("a", "b"));
  const moved = [];
  root.moveBefore = (node, at) => { moved.push(node.dataset.key); root.insertBefore(node, at); };
  become(list("b", "new", "a"));
  assert.deepEqual(moved, ["b"]);
});

test("keeps the input of a field that gets another parent", () => {
  const fields = (o = "") => `<input name="note"><input type="radio" name="size" value="s"${o}><input type="radio" name="size" value="m"><select name="c"><option>red<option>blue</select>`;
  show(`<form>${fields()}</form><p>x</p>`);
  const note = $("input");
  note.value = "typed";
  $("[value=m]").checked = true;
  $("select").value = "blue";
  note.focus();
  note.setSelectionRange(1, 3);
  become(`<div><label>Note ${fields(" checked")}</label></div>`);
  const now = $("label input");
  assert.deepEqual([now.value, $("[value=s]").checked, $("[value=m]").checked, $("select").value], ["typed", false, true, "blue"]);
  assert.equal(document.activeElement, now);
  assert.deepEqual([now.selectionStart, now.selectionEnd], [1, 3]);
});

test("never puts the input of one field into another", () => {
  show(`<input name="a"><input name="b">`);
  $("[name=a]").value = "typed";
  become(`<input name="c"><input name="b">`);
  assert.deepEqual([...root.querySelectorAll("input")].map((i) => i.value), ["", ""]);
});

test("leaves data-live-keep elements alone, also those that the new HTML lacks", () => {
  show(`<p>1</p><div data-live-keep><b>server</b></div>`);
  $("[data-live-keep]").innerHTML = "<i>a widget of the page</i>";
  $("p").insertAdjacentHTML("afterend", `<div class="heart" data-live-keep>♥</div>`);
  become(`<p>2</p><div data-live-keep><b>server</b></div>`);
  assert.equal(root.innerHTML, `<p>2</p><div class="heart" data-live-keep="">♥</div><div data-live-keep=""><i>a widget of the page</i></div>`);
  become(`<div>3</div><div data-live-keep><b>server</b></div>`);
  assert.match(root.innerHTML, /^<div class="heart" data-live-keep="">♥<\/div><div>3<\/div>|^<div>3<\/div>/);
  assert.match(root.innerHTML, /a widget of the page/);
});

test("replaces an element by one with another tag", () => {
  document.body.innerHTML = `<div id="p"></div>`;
  root = document.querySelector("div");
  become("<p>1</p>");
  assert.equal(document.body.innerHTML, `<article id="p" class="card"><p>1</p></article>`);
});

test("restores a selection across texts that change", () => {
  show(`<p>One two</p><p>three</p>`);
  const [a, b] = [...root.querySelectorAll("p")].map((p) => p.firstChild);
  document.getSelection().setBaseAndExtent(a, 4, b, 5);
  become(`<p>One 2</p><p>four</p>`);
  const s = document.getSelection();
  assert.deepEqual([s.anchorNode, s.anchorOffset, s.focusNode, s.focusOffset], [a, 4, b, 4]);
});

test("keeps everything a visitor did, for random fragments and visitors", () => {
  fc.assert(
    fc.property(stories(fc), (story) => assert.deepEqual(play(document, morph, story), [])),
    { numRuns: Number(process.env.SHELFCAST_TEST_RUNS ?? 300) },
  );
});
