import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "../assets/admin-dom.js";

/** A dialog whose close event comes when the test says so, as with a frame. */
class Dialog {
  open = false;
  button = {};
  querySelectorAll() { return [this.button]; }
  showModal() { this.open = true; }
  close() { this.open = false; }
  frame() { this.onclose(); }
}

test("a dialog says once that it has closed, and to nobody else", () => {
  const [dialog, other, said] = [new Dialog(), new Dialog(), []];
  open(dialog, () => said.push("first"));
  open(other, () => said.push("other"));
  dialog.button.onclick();
  assert.deepEqual(said, []);
  dialog.frame();
  dialog.frame();
  assert.deepEqual(said, ["first"]);
});

test("one that is open again before its event has come is not closed by it", () => {
  const [dialog, said] = [new Dialog(), []];
  open(dialog, () => said.push("first"));
  dialog.close();
  open(dialog, () => said.push("second"));
  assert.deepEqual(said, ["first"]);
  dialog.frame(); // of the first
  assert.deepEqual(said, ["first"]);
  dialog.close();
  dialog.frame();
  assert.deepEqual(said, ["first", "second"]);
});
