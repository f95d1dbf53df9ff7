import assert from "node:assert/strict";
import { test } from "node:test";
import { broken, decimal, Draft, FIELDS, patchOf, same } from "../assets/admin-draft.js";

const lamp = (more = {}) => ({
  id: 1, version: 10, sku: "lamp", title: "The lamp", description: "<p>A lamp.</p>", vendor: "Co", image_url: "", price: "19.90",
  compare_at_price: null, currency: "EUR", stock: 7, published: true, archived: false, created_at: "2026-11-24T09:30:00Z", ...more,
});

/** A draft in which this was typed. */
function draft(typed = {}, p = lamp()) {
  const d = new Draft(p);
  for (const [name, value] of Object.entries(typed)) d.type(name, value);
  return d;
}

test("only what differs is sent", () => {
  assert.deepEqual(patchOf(draft()), {});
  assert.deepEqual(patchOf(draft({ price: "17.5", stock: " 3 ", compare_at_price: "19,90", published: false })), {
    price: "17.5", compare_at_price: "19.90", stock: 3, published: false,
  });
  assert.deepEqual(patchOf(draft({ compare_at_price: " " }, lamp({ compare_at_price: "25.00" }))), { compare_at_price: null });
  assert.deepEqual(patchOf(draft({ title: " A lamp ", vendor: "", description: "" })), { title: "A lamp", vendor: "", description: "" });
});

test("what is written another way and means the same is no change", () => {
  const d = draft({ price: "019.9", stock: "07", title: "The lamp  ", description: "<p>A lamp.</p>\r\n", vendor: " Co" });
  assert.deepEqual(d.changed, []);
  for (const [a, b] of [["19.90", "+19,9"], ["0", "-0.00".slice(1)], ["1000", "1000.000"]]) assert.ok(same("price", a, b), `${a} and ${b}`);
  for (const [a, b] of [["19.90", "19.9a"], ["1", "-1"], ["1,234", "1234"], ["", "0"], ["1.05", "1.5"]]) assert.ok(!same("price", a, b), `${a} and ${b}`);
});

test("a comma before cents is a point, and one before thousands is not guessed at", () => {
  assert.deepEqual(["19,90", "-3,5", " 1,2 ", "1,234", "1.234,50", "1,2,3", ""].map(decimal), ["19.90", "-3.5", "1.2", "1,234", "1.234,50", "1,2,3", ""]);
});

test("what could not reach the server as what it is, is refused here", () => {
  const wrong = (typed) => Object.keys(broken(draft(typed).values, FIELDS));
  assert.deepEqual(wrong({}), []);
  for (const stock of ["", "x", "-1", "1.5", "1e3"]) assert.deepEqual(wrong({ stock }), ["stock"], stock);
  for (const price of ["", "abc", "1e5", "1,234", "1 000", "€5"]) assert.deepEqual(wrong({ price }), ["price"], price);
  assert.deepEqual(wrong({ compare_at_price: "" }), []);
  assert.deepEqual(wrong({ compare_at_price: "x" }), ["compare_at_price"]);
  assert.deepEqual(broken({ stock: "x", price: "x" }, ["price"]), { price: "is not a number such as 19.90" });
});

test("what changes elsewhere follows, and what is typed stays", () => {
  const d = draft({ title: "My lamp" });
  assert.deepEqual(d.meet(lamp({ version: 11, stock: 3, price: "15.00" })), ["price", "stock"]);
  assert.equal(d.conflict, null);
  assert.deepEqual([d.values.stock, d.values.price, d.values.title], ["3", "15.00", "My lamp"]);
  assert.deepEqual(patchOf(d), { title: "My lamp" });
  assert.equal(d.product.version, 11);
  assert.deepEqual(d.meet(lamp({ version: 9, stock: 99 })), [], "what comes late is not taken");
  assert.equal(d.values.stock, "3");
});

test("what is typed and changes elsewhere is a conflict; so is all that was typed when an edit was refused", () => {
  const d = draft({ title: "My lamp", price: "12.00" });
  d.meet(lamp({ version: 11, price: "15.00", stock: 3 }));
  assert.deepEqual(d.conflict.fields, ["price"]);
  assert.deepEqual(d.conflict.theirs, ["price", "stock"]);
  assert.equal(d.conflict.since.version, 10);
  d.meet(lamp({ version: 12, price: "16.00", stock: 3, vendor: "Other" }));
  assert.deepEqual(d.conflict.fields, ["price"]);
  assert.deepEqual(d.conflict.theirs, ["price", "stock", "vendor"]);
  assert.equal(d.conflict.since.version, 10);
  assert.deepEqual([d.values.price, d.values.title, d.values.vendor], ["12.00", "My lamp", "Other"]);

  const refused = draft({ title: "My lamp" });
  refused.meet(lamp({ version: 11, stock: 3 }), { refused: true });
  assert.deepEqual(refused.conflict.fields, ["title"]);
  assert.deepEqual(refused.conflict.theirs, ["stock"]);
});

test("mine is kept on top of the new version", () => {
  const d = draft({ price: "12.00" });
  d.meet(lamp({ version: 11, price: "15.00" }));
  d.keepMine();
  assert.equal(d.conflict, null);
  assert.deepEqual(patchOf(d), { price: "12.00" });
  assert.equal(d.product.version, 11);
});

test("theirs is taken where there is a conflict, and nowhere else", () => {
  const d = draft({ price: "12.00", title: "My lamp" });
  d.meet(lamp({ version: 11, price: "15.00" }));
  d.takeTheirs();
  assert.equal(d.conflict, null);
  assert.deepEqual(patchOf(d), { title: "My lamp" });
  assert.equal(d.values.price, "15.00");
});

test("a conflict ends by itself when both say the same", () => {
  for (const end of [
    (d) => d.type("price", "15"),
    (d) => d.putBack(["price"]),
    (d) => d.putBack(),
    (d) => d.meet(lamp({ version: 12, price: "12.00" })),
  ]) {
    const d = draft({ price: "12.00" });
    d.meet(lamp({ version: 11, price: "15.00" }));
    assert.ok(d.conflict);
    end(d);
    assert.equal(d.conflict, null, String(end));
    assert.deepEqual(d.changed, []);
  }
});

test("what is typed while it is saved stays", () => {
  const d = draft({ price: "12,00", title: " My lamp" });
  const sent = { ...d.values };
  d.type("price", "13.00");
  d.type("stock", "9");
  d.saved(lamp({ version: 11, price: "12.00", title: "My lamp" }), sent);
  assert.deepEqual([d.values.title, d.values.price, d.values.stock], ["My lamp", "13.00", "9"]);
  assert.deepEqual(patchOf(d), { price: "13.00", stock: 9 });
  assert.equal(d.product.version, 11);
});

test("an answer that comes again is not newer than what came since", () => {
  const d = draft({ price: "12.00" });
  const sent = { ...d.values };
  d.meet(lamp({ version: 12, price: "12.00", stock: 3 }));
  d.saved(lamp({ version: 11, price: "12.00" }), sent);
  assert.equal(d.product.version, 12);
  assert.equal(d.values.stock, "3");
});
