// Gentle updates: an element becomes what new HTML says, and its nodes stay. What
// stays keeps what a visitor has done there: focus, caret, selection, what was
// typed, chosen or opened, scroll, and media and frames at work.
//
//  1. The children of two elements are matched: first those with the same id,
//     data-key or name, then, of those that have none, those of the same tag and
//     class, then those of the same tag, in order.
//  2. What nothing matches goes; what is matched is put in its place, and gets the
//     attributes, text and children of the new HTML.
//  3. Fields that nobody had touched show what the new HTML says; the others show
//     what the visitor did, even if they are other elements now.

import { get } from "./wire.js";

/** @typedef {HTMLInputElement & HTMLSelectElement} Field one of these, or a textarea */

const KEEP = "data-live-keep";

/** @param {any} node */
const ticked = (node) => /radio|checkbox/.test(node.type);

/**
 * What tells an element from others. Radio buttons share a name.
 * @param {any} node
 */
const keyOf = (node) => {
  const name = get(node, "id") || get(node, "data-key") || get(node, "name");
  return name && node.nodeName + name + (ticked(node) && node.value);
};

/** @param {Node} node */
const tagOf = (node) => keyOf(node) + node.nodeName + get(node, KEEP);

/** How nodes are alike, from best to least. */
const likeness = [keyOf, (/** @type {Node} */ node) => tagOf(node) + get(node, "class"), tagOf];

/**
 * Sets what differs: a caret jumps when a value is set. Whatever is chosen is
 * chosen again, which lets the others go.
 * @param {any} object
 * @param {string} name
 * @param {unknown} value
 */
const set = (object, name, value) => {
  if (value === true || object[name] !== value) object[name] = value;
};

/** @param {Element} e */
const below = (e) => /** @type {Field[]} */ ([...e.querySelectorAll("*")]);

/**
 * @param {any} parent
 * @param {Element} fresh
 */
const patch = (parent, fresh) => {
  // What is in an editable element is the visitor's.
  if (get(parent, KEEP) != null || /true|only/.test(parent.contentEditable)) return;
  for (const { name } of [...parent.attributes, ...fresh.attributes]) {
    const value = get(fresh, name);
    // Whether something is open is the visitor's.
    if (value === get(parent, name) || (name === "open" && name in parent)) continue;
    if (value == null) parent.removeAttribute(name);
    else parent.setAttribute(name, value);
  }
  const wanted = [...fresh.childNodes];
  const match = new Map();
  /** @type {Set<any>} */
  const rest = new Set(parent.childNodes);
  for (const like of likeness) {
    for (const f of wanted) {
      const old = !match.has(f) && like(f) && [...rest].find((node) => like(node) === like(f));
      if (old) match.set(f, old);
      rest.delete(old);
    }
  }
  for (const node of rest) if (get(node, KEEP) == null) node.remove();
  let at = parent.firstChild;
  for (const f of wanted) {
    while (rest.has(at)) at = at.nextSibling;
    const old = match.get(f);
    if (old && old === at) at = at.nextSibling;
    // Where moveBefore is not known, a move costs a frame its page, and the focus.
    else parent[old && parent.moveBefore ? "moveBefore" : "insertBefore"](old ?? f, at);
    if (old?.attributes) patch(old, /** @type {Element} */ (f));
    else if (old) set(old, "nodeValue", f.nodeValue);
  }
};

/**
 * What is chosen, now or by default. Where one is to be chosen, it is the first if it is no other.
 * @param {HTMLSelectElement} select
 * @param {(o: HTMLOptionElement) => unknown} is
 */
const chosen = ({ options, multiple }, is) => {
  const all = [...options].filter(is);
  return (all[0] || multiple ? all : [...options].slice(0, 1)).map((o) => o.value);
};

/** @param {HTMLOptionElement} o */
const byDefault = (o) => get(o, "selected") != null;

/**
 * Notes what a visitor did with a field, by its defaults.
 * @param {Field} f or any other element
 * @returns {[touched: any, settle: (now: Field) => void]} settle makes it right once its new defaults are known
 */
const fieldOf = (f) => {
  if (f.selectedOptions) {
    const did = chosen(f, (o) => o.selected);
    const touched = `${did}` !== `${chosen(f, byDefault)}`;
    return [touched, (now) => {
      const options = [...now.options];
      const right = touched && (now.multiple || options.some((o) => did.includes(o.value))) ? did : chosen(now, byDefault);
      for (const o of options) set(o, "selected", right.includes(o.value));
    }];
  }
  const [name, initial] = ticked(f) ? /** @type {const} */ (["checked", "defaultChecked"]) : /** @type {const} */ (["value", "defaultValue"]);
  const did = f[name];
  // A radio button is let go by choosing another, should that be there still.
  const touched = f.validity?.badInput || (did !== f[initial] && (did !== false || f.type !== /** @type {string} */ ("radio")));
  return [touched, (now) => {
    // No script may set a file.
    if (initial in now && f.type !== /** @type {string} */ ("file")) set(now, name, touched ? did : now[initial]);
  }];
};

/**
 * Makes an element what fresh is.
 * @param {Element} old
 * @param {Element} fresh is used up
 */
export const morph = (old, fresh) => {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  const doc = old.ownerDocument;
  const active = /** @type {Field} */ (doc.activeElement ?? old);
  const { selectionStart: start, selectionEnd: end } = active;
  const selection = /** @type {any} */ (doc.getSelection());
  const selected = () => [selection.anchorNode, selection.anchorOffset, selection.focusNode, selection.focusOffset];
  const was = selected();
  const within = (/** @type {number} */ n) => Math.min(was[n + 1], (was[n].nodeValue ?? was[n].childNodes).length);
  // What was touched comes last, because one radio button changes the others.
  const fields = below(old).map((f) => /** @type {const} */ ([f, keyOf(f), ...fieldOf(f)])).sort((x, y) => x[2] - y[2]);

  patch(old, fresh);

  for (const [f, key, , settle] of fields) {
    const now = old.contains(f) ? f : key && below(old).find((e) => keyOf(e) === key);
    if (!now) continue;
    settle(now);
    if (f !== active) continue;
    now.focus({ preventScroll: true });
    // A number or email field has no such numbers, and keeps its caret.
    if (start != null && now.selectionStart != null && (now.selectionStart !== start || now.selectionEnd !== end)) now.setSelectionRange(start, end);
  }
  // Setting the document's selection takes the caret out of a text field or a shadow
  // tree. These do not contain where the document's selection is; what has the focus
  // while a text of the page is selected does.
  if (active.contains(was[0]) && old.contains(was[0]) && !active.shadowRoot && selected().some((now, i) => now !== was[i])) {
    selection.setBaseAndExtent(was[0], within(0), was[2], within(2));
  }
};
