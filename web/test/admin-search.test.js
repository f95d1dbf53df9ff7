import assert from "node:assert/strict";
import { test } from "node:test";
import { filterOf, queryOf, sameSearch, scopeOf, searchOf } from "../assets/admin-search.js";

const SORTS = ["", "-id", "title", "-price"];
const of = (query) => searchOf(new URLSearchParams(query), SORTS);

test("an address is read, written, and the same again", () => {
  const query = "q=a%26b+%3D%22c%22&vendor=Kiln+%26+Co&published=false&archived=any&sort=-price";
  const search = of(query);
  assert.deepEqual(search, { q: 'a&b ="c"', vendor: "Kiln & Co", published: "false", archived: "any", sort: "-price" });
  assert.equal(queryOf(search), query);
  assert.ok(sameSearch(search, of(query)));
  assert.ok(!sameSearch(search, of("q=a")));
  assert.equal(queryOf(of("")), "");
});

test("what a search cannot be is left out", () => {
  assert.equal(queryOf(of("published=maybe&archived=false&sort=weight&cursor=x&token=y&q=")), "");
  assert.equal(of(`q=${"x".repeat(300)}`).q.length, 255);
});

test("a bulk change picks what the search does, and nothing archived", () => {
  assert.deepEqual(filterOf(of("")), {});
  assert.deepEqual(filterOf(of("q=lamp&vendor=Co&published=false&archived=any&sort=title")), { q: "lamp", vendor: "Co", published: false });
  assert.deepEqual(filterOf(of("published=true")), { published: true });
  assert.equal(filterOf(of("archived=true&q=lamp")), undefined);
  assert.match(scopeOf(of("")), /Every product/);
  assert.equal(scopeOf(of("q=lamp&vendor=Co&published=true")), "All products with “lamp” in the title or the SKU, of the vendor “Co”, that are published.");
});
