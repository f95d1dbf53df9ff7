import assert from "node:assert/strict";
import { test } from "node:test";
import { formatAuthor, Formatter } from "../assets/admin-format.js";

test("formats amounts and counts in the shop's locale", () => {
  const [de, en] = [new Formatter("de_DE"), new Formatter("en")];
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
  assert.match(en.pages({ pages: 0, products: null, complete: false }), /unknown number of open pages/);
  assert.equal(new Formatter("no such locale!").count(1000, "page"), "1,000 pages");
});

test("no two authors of a history look the same", () => {
  const names = ["admin token", "admin token (token 7)", "ada", "ada@example.com", ""];
  const keys = ["root", "token:7", "token:8", "jwt:0123456789abcdef:ada", "jwt:0123456789abcdef:root", "command-line:root", ""];
  const seen = new Map();
  for (const author of names) {
    for (const author_key of keys) {
      const text = formatAuthor({ author, author_key });
      const who = author_key === "root" ? "root" : `${author_key} ${author}`; // whatever the name of the server's own token is
      assert.equal(seen.get(text) ?? who, who, text);
      seen.set(text, who);
    }
  }
  assert.equal(formatAuthor({ author: "admin token", author_key: "root" }), "admin token");
  assert.equal(formatAuthor({ author: "admin token", author_key: "token:7" }), "admin token (token 7)");
  assert.equal(formatAuthor({ author: "ada@example.com", author_key: "jwt:0123456789abcdef:auth0|a:b" }), "ada@example.com (signed in as auth0|a:b)");
  assert.equal(formatAuthor({ author: "ada", author_key: "jwt:0123456789abcdef:ada" }), "ada (signed in)");
  assert.equal(formatAuthor({ author: "", author_key: "" }), "unknown");
});
