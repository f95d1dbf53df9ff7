import assert from "node:assert/strict";
import { test } from "node:test";
import { Words } from "../assets/admin-words.js";

test("amounts and counts are said in the shop's language", () => {
  const [de, en] = [new Words("de_DE"), new Words("en")];
  assert.equal(en.money("1234.5", "EUR"), "€1,234.50");
  assert.match(de.money("1234.5", "EUR"), /^1\.234,50\s€$/);
  assert.equal(en.money("500", "JPY"), "¥500");
  assert.equal(en.money("5.00", "none"), "5.00 none");
  assert.equal(en.value("compare_at_price", null, "EUR"), "none");
  assert.equal(en.value("published", false, "EUR"), "not published");
  assert.equal(en.value("stock", 1234, "EUR"), "1,234");
  assert.equal(en.count(1, "price") + ", " + en.count(2000, "price"), "1 price, 2,000 prices");
  assert.equal(en.pages({ pages: 1, products: null, complete: true }), "1 open page");
  assert.equal(en.pages({ pages: 12, products: null, complete: false }), "at least 12 open pages");
  assert.match(en.pages({ pages: 0, products: null, complete: false }), /could not be counted/);
  assert.equal(new Words("no such locale!").count(1000, "page"), "1,000 pages");
});
