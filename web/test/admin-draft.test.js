import assert from "node:assert/strict";
import { test } from "node:test";
import { Draft, parseDecimal, patchOf, sameValue, validate } from "../assets/admin-draft.js";
import { EDITABLE } from "../assets/admin-fields.js";

const lamp = (more = {}) => ({
  id: 1, version: 10, sku: "lamp", title: "The lamp", description: "<p>A lamp.</p>", vendor: "Co", image_url: "", price: "19.90",
  compare_at_price: null, currency: "EUR", stock: 7, published: true, archived: false, created_at: "2026-11-24T09:30:00Z", ...more,
});

/** Returns a draft with these edits. */
function draft(typed = {}, p = lamp()) {
  const d = new Draft(p);
  for (const [name, value] of Object.entries(typed)) d.set(name, value);
  return d;
}

test("the patch has the changed fields only", () => {
  assert.deepEqual(patchOf(draft()), {});
  assert.deepEqual(patchOf(draft({ price: "17.5", stock: " 3 ", compare_at_price: "19,90", published: false })), {
    price: "17.5", compare_at_price: "19.90", stock: 3, published: false,
  });
  assert.deepEqual(patchOf(draft({ compare_at_price: " " }, lamp({ compare_at_price: "25.00" }))), { compare_at_price: null });
  assert.deepEqual(patchOf(draft({ title: " A lamp ", vendor: "", description: "" })), { title: "A lamp", vendor: "", description: "" });
});

test("another spelling of the same value is no change", () => {
  const d = draft({ price: "019.9", stock: "07", title: "The lamp  ", description: "<p>A lamp.</p>\r\n", vendor: " Co" });
  assert.deepEqual(d.changed, []);
  for (const [a, b] of [["19.90", "+19,9"], ["0", "-0.00".slice(1)], ["1000", "1000.000"]]) assert.ok(sameValue("price", a, b), `${a} and ${b}`);
  for (const [a, b] of [["19.90", "19.9a"], ["1", "-1"], ["1,234", "1234"], ["", "0"], ["1.05", "1.5"]]) assert.ok(!sameValue("price", a, b), `${a} and ${b}`);
});

test("accepts a decimal comma, and does not guess about a thousands separator", () => {
  assert.deepEqual(["19,90", "-3,5", " 1,2 ", "1,234", "1.234,50", "1,2,3", ""].map(parseDecimal), ["19.90", "-3.5", "1.2", "1,234", "1.234,50", "1,2,3", ""]);
});

test("rejects what is not a number", () => {
  const wrong = (typed) => Object.keys(validate(draft(typed).values, EDITABLE));
  assert.deepEqual(wrong({}), []);
  for (const stock of ["", "x", "-1", "1.5", "1e3"]) assert.deepEqual(wrong({ stock }), ["stock"], stock);
  for (const price of ["", "abc", "1e5", "1,234", "1 000", "€5"]) assert.deepEqual(wrong({ price }), ["price"], price);
  assert.deepEqual(wrong({ compare_at_price: "" }), []);
  assert.deepEqual(wrong({ compare_at_price: "x" }), ["compare_at_price"]);
  assert.deepEqual(validate({ stock: "x", price: "x" }, ["price"]), { price: "must be a number, such as 19.90" });
});

test("merge updates unedited fields and keeps edits", () => {
  const d = draft({ title: "My lamp" });
  assert.deepEqual(d.merge(lamp({ version: 11, stock: 3, price: "15.00" })), ["price", "stock"]);
  assert.equal(d.conflict, null);
  assert.deepEqual([d.values.stock, d.values.price, d.values.title], ["3", "15.00", "My lamp"]);
  assert.deepEqual(patchOf(d), { title: "My lamp" });
  assert.equal(d.product.version, 11);
  assert.deepEqual(d.merge(lamp({ version: 9, stock: 99 })), [], "an older version is ignored");
  assert.equal(d.values.stock, "3");
});

test("merge finds conflicts; after a refused edit all edited fields are in conflict", () => {
  const d = draft({ title: "My lamp", price: "12.00" });
  d.merge(lamp({ version: 11, price: "15.00", stock: 3 }));
  assert.deepEqual(d.conflict.fields, ["price"]);
  assert.deepEqual(d.conflict.theirs, ["price", "stock"]);
  assert.equal(d.conflict.since.version, 10);
  d.merge(lamp({ version: 12, price: "16.00", stock: 3, vendor: "Other" }));
  assert.deepEqual(d.conflict.fields, ["price"]);
  assert.deepEqual(d.conflict.theirs, ["price", "stock", "vendor"]);
  assert.equal(d.conflict.since.version, 10);
  assert.deepEqual([d.values.price, d.values.title, d.values.vendor], ["12.00", "My lamp", "Other"]);

  const refused = draft({ title: "My lamp" });
  refused.merge(lamp({ version: 11, stock: 3 }), { refused: true });
  assert.deepEqual(refused.conflict.fields, ["title"]);
  assert.deepEqual(refused.conflict.theirs, ["stock"]);
});

test("keepMine keeps the edits on top of the new version", () => {
  const d = draft({ price: "12.00" });
  d.merge(lamp({ version: 11, price: "15.00" }));
  d.keepMine();
  assert.equal(d.conflict, null);
  assert.deepEqual(patchOf(d), { price: "12.00" });
  assert.equal(d.product.version, 11);
});

test("takeTheirs reverts the fields in conflict only", () => {
  const d = draft({ price: "12.00", title: "My lamp" });
  d.merge(lamp({ version: 11, price: "15.00" }));
  d.takeTheirs();
  assert.equal(d.conflict, null);
  assert.deepEqual(patchOf(d), { title: "My lamp" });
  assert.equal(d.values.price, "15.00");
});

test("a conflict ends when both values are equal", () => {
  for (const end of [
    (d) => d.set("price", "15"),
    (d) => d.revert(["price"]),
    (d) => d.revert(),
    (d) => d.merge(lamp({ version: 12, price: "12.00" })),
  ]) {
    const d = draft({ price: "12.00" });
    d.merge(lamp({ version: 11, price: "15.00" }));
    assert.ok(d.conflict);
    end(d);
    assert.equal(d.conflict, null, String(end));
    assert.deepEqual(d.changed, []);
  }
});

test("keeps what was typed while an edit was saved", () => {
  const d = draft({ price: "12,00", title: " My lamp" });
  const sent = { ...d.values };
  d.set("price", "13.00");
  d.set("stock", "9");
  d.saved(lamp({ version: 11, price: "12.00", title: "My lamp" }), sent);
  assert.deepEqual([d.values.title, d.values.price, d.values.stock], ["My lamp", "13.00", "9"]);
  assert.deepEqual(patchOf(d), { price: "13.00", stock: 9 });
  assert.equal(d.product.version, 11);
});

test("saved does not go back to an older version", () => {
  const d = draft({ price: "12.00" });
  const sent = { ...d.values };
  d.merge(lamp({ version: 12, price: "12.00", stock: 3 }));
  d.saved(lamp({ version: 11, price: "12.00" }), sent);
  assert.equal(d.product.version, 12);
  assert.equal(d.values.stock, "3");
});
