import assert from "node:assert/strict";
import { test } from "node:test";
import { bulkFilter, describeSearch, formatSearch, parseSearch, sameSearch } from "../assets/admin-search.js";

const SORTS = ["", "-id", "title", "-price"];
const of = (query) => parseSearch(new URLSearchParams(query), SORTS);

test("parses and formats a search", () => {
  const query = "q=a%26b+%3D%22c%22&vendor=Kiln+%26+Co&published=false&archived=any&sort=-price";
  const search = of(query);
  assert.deepEqual(search, { q: 'a&b ="c"', vendor: "Kiln & Co", published: "false", archived: "any", sort: "-price" });
  assert.equal(formatSearch(search), query);
  assert.ok(sameSearch(search, of(query)));
  assert.ok(!sameSearch(search, of("q=a")));
  assert.equal(formatSearch(of("")), "");
});

test("ignores invalid parameters", () => {
  assert.equal(formatSearch(of("published=maybe&archived=false&sort=weight&cursor=x&token=y&q=")), "");
  assert.equal(of(`q=${"x".repeat(300)}`).q.length, 255);
});

test("a bulk change selects the products of the search, and none that are archived", () => {
  assert.deepEqual(bulkFilter(of("")), {});
  assert.deepEqual(bulkFilter(of("q=lamp&vendor=Co&published=false&archived=any&sort=title")), { q: "lamp", vendor: "Co", published: false });
  assert.deepEqual(bulkFilter(of("published=true")), { published: true });
  assert.equal(bulkFilter(of("archived=true&q=lamp")), undefined);
  assert.match(describeSearch(of("")), /Every product/);
  assert.equal(describeSearch(of("q=lamp&vendor=Co&published=true")), "All products with “lamp” in the title or SKU, from the vendor “Co”, that are published.");
});
