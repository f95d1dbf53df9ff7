import assert from "node:assert/strict";
import { test } from "node:test";
import { openDialog } from "../assets/admin-dom.js";

/** A dialog whose close event comes from the test, as a browser delays it to the next frame. */
class Dialog {
  open = false;
  button = {};
  querySelectorAll() { return [this.button]; }
  showModal() { this.open = true; }
  close() { this.open = false; }
  frame() { this.onclose(); }
}

test("calls onClose once per dialog", () => {
  const [dialog, other, closed] = [new Dialog(), new Dialog(), []];
  openDialog(dialog, () => closed.push("first"));
  openDialog(other, () => closed.push("other"));
  dialog.button.onclick();
  assert.deepEqual(closed, []);
  dialog.frame();
  dialog.frame();
  assert.deepEqual(closed, ["first"]);
});

test("a dialog that is reopened before the close event stays open", () => {
  const [dialog, closed] = [new Dialog(), []];
  openDialog(dialog, () => closed.push("first"));
  dialog.close();
  openDialog(dialog, () => closed.push("second"));
  assert.deepEqual(closed, ["first"]);
  dialog.frame(); // of the first close
  assert.deepEqual(closed, ["first"]);
  dialog.close();
  dialog.frame();
  assert.deepEqual(closed, ["first", "second"]);
});
