// Updates an element in place to what new HTML says. Elements that stay keep what the
// visitor did there: focus, caret, selection, input, choices, what was opened, scroll
// positions, and playing media and frames.
//
//  1. The children of the two elements are matched: first by id, data-key or name; of
//     those that have none, by tag and class; then by tag, in order.
//  2. Old nodes without a match are removed. The others move to their new place, and
//     get the attributes, text and children of the new HTML.
//  3. Form fields that the visitor has not touched show the new value. Touched fields
//     keep the visitor's, even if the element was replaced.

import { attribute } from "./dom.js";

/** @typedef {HTMLInputElement & HTMLSelectElement} Field one of these, or a textarea */

const KEEP = "data-live-keep";

/** @param {any} node */
const isCheckable = (node) => /radio|checkbox/.test(node.type);

/**
 * Returns what identifies an element among its siblings. Radio buttons share a name.
 * @param {any} node
 */
const keyOf = (node) => {
  const name = attribute(node, "id") || attribute(node, "data-key") || attribute(node, "name");
  return name && node.nodeName + name + (isCheckable(node) && node.value);
};

/** @param {Node} node */
const tagOf = (node) => keyOf(node) + node.nodeName + attribute(node, KEEP);

/** The criteria for a match, best first. */
const criteria = [keyOf, (/** @type {Node} */ node) => tagOf(node) + attribute(node, "class"), tagOf];

/**
 * Sets a property if it differs, because setting a value moves the caret. True is
 * always set: choosing a radio button clears the others of its group.
 * @param {any} object
 * @param {string} name
 * @param {unknown} value
 */
const set = (object, name, value) => {
  if (value === true || object[name] !== value) object[name] = value;
};

/** @param {Element} e */
const descendants = (e) => /** @type {Field[]} */ ([...e.querySelectorAll("*")]);

/**
 * @param {any} parent
 * @param {Element} fresh
 */
const patch = (parent, fresh) => {
  // The content of an editable element is the visitor's.
  if (attribute(parent, KEEP) != null || /true|only/.test(parent.contentEditable)) return;
  for (const { name } of [...parent.attributes, ...fresh.attributes]) {
    const value = attribute(fresh, name);
    // The visitor decides whether a details element or dialog is open.
    if (value === attribute(parent, name) || (name === "open" && name in parent)) continue;
    if (value == null) parent.removeAttribute(name);
    else parent.setAttribute(name, value);
  }
  const wanted = [...fresh.childNodes];
  const match = new Map();
  /** @type {Set<any>} */
  const unmatched = new Set(parent.childNodes);
  for (const criterion of criteria) {
    for (const f of wanted) {
      const old = !match.has(f) && criterion(f) && [...unmatched].find((node) => criterion(node) === criterion(f));
      if (old) match.set(f, old);
      unmatched.delete(old);
    }
  }
  for (const node of unmatched) if (attribute(node, KEEP) == null) node.remove();
  let at = parent.firstChild;
  for (const f of wanted) {
    while (unmatched.has(at)) at = at.nextSibling;
    const old = match.get(f);
    if (old && old === at) at = at.nextSibling;
    // Without moveBefore a moved frame reloads, and a moved element loses the focus.
    else parent[old && parent.moveBefore ? "moveBefore" : "insertBefore"](old ?? f, at);
    if (old?.attributes) patch(old, /** @type {Element} */ (f));
    else if (old) set(old, "nodeValue", f.nodeValue);
  }
};

/**
 * Returns the values of the options that are selected, now or by default. A single
 * select without a selected option shows its first one.
 * @param {HTMLSelectElement} select
 * @param {(o: HTMLOptionElement) => unknown} isSelected
 */
const selectedValues = ({ options, multiple }, isSelected) => {
  const all = [...options].filter(isSelected);
  return (all[0] || multiple ? all : [...options].slice(0, 1)).map((o) => o.value);
};

/** @param {HTMLOptionElement} o */
const isDefault = (o) => attribute(o, "selected") != null;

/**
 * Saves the state of a form field.
 * @param {Field} f or any other element
 * @returns {[touched: any, restore: (now: Field) => void]} whether the visitor changed it; and what sets it after the patch
 */
const saveField = (f) => {
  if (f.selectedOptions) {
    const values = selectedValues(f, (o) => o.selected);
    const touched = `${values}` !== `${selectedValues(f, isDefault)}`;
    return [touched, (now) => {
      const options = [...now.options];
      const selected = touched && (now.multiple || options.some((o) => values.includes(o.value))) ? values : selectedValues(now, isDefault);
      for (const o of options) set(o, "selected", selected.includes(o.value));
    }];
  }
  const [name, initial] = isCheckable(f) ? /** @type {const} */ (["checked", "defaultChecked"]) : /** @type {const} */ (["value", "defaultValue"]);
  const value = f[name];
  // An unchecked radio button does not count: the checked one of its group does, if it still exists.
  const touched = f.validity?.badInput || (value !== f[initial] && (value !== false || f.type !== /** @type {string} */ ("radio")));
  return [touched, (now) => {
    // Scripts cannot set a file.
    if (initial in now && f.type !== /** @type {string} */ ("file")) set(now, name, touched ? value : now[initial]);
  }];
};

/**
 * Makes old equal to fresh.
 * @param {Element} old
 * @param {Element} fresh loses its nodes
 */
export const morph = (old, fresh) => {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  const doc = old.ownerDocument;
  const active = /** @type {Field} */ (doc.activeElement ?? old);
  const { selectionStart: start, selectionEnd: end } = active;
  const selection = /** @type {any} */ (doc.getSelection());
  const selected = () => [selection.anchorNode, selection.anchorOffset, selection.focusNode, selection.focusOffset];
  const before = selected();
  const offsetOf = (/** @type {number} */ n) => Math.min(before[n + 1], (before[n].nodeValue ?? before[n].childNodes).length);
  // Touched fields come last, because a checked radio button clears the others.
  const fields = descendants(old).map((f) => /** @type {const} */ ([f, keyOf(f), ...saveField(f)])).sort((x, y) => x[2] - y[2]);

  patch(old, fresh);

  for (const [f, key, , restore] of fields) {
    const now = old.contains(f) ? f : key && descendants(old).find((e) => keyOf(e) === key);
    if (!now) continue;
    restore(now);
    if (f !== active) continue;
    now.focus({ preventScroll: true });
    // Fields of type number and email have no selectionStart, and keep their caret.
    if (start != null && now.selectionStart != null && (now.selectionStart !== start || now.selectionEnd !== end)) now.setSelectionRange(start, end);
  }
  // Setting the document's selection takes the caret out of a text field or a shadow
  // tree. Those do not contain the selection's node; the focused element does while
  // text of the page is selected.
  if (active.contains(before[0]) && old.contains(before[0]) && !active.shadowRoot && selected().some((now, i) => now !== before[i])) {
    selection.setBaseAndExtent(before[0], offsetOf(0), before[2], offsetOf(2));
  }
};
