// Helpers for the page's elements. Text is always set as text, never as HTML.

import { FIELDS } from "./admin-fields.js";

/**
 * Returns the first element that matches. There must be one.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {T}
 */
export function find(selector, root = document) {
  return /** @type {T} */ (root.querySelector(selector));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function createElement(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * Returns a copy of the element in a template.
 * @param {string} id
 */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (find(`template#${id}`));
  return /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
}

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Input */

/**
 * Returns a form's inputs by name.
 * @param {ParentNode} form
 * @returns {Record<string, Input>}
 */
export function inputsOf(form) {
  const inputs = /** @type {NodeListOf<Input>} */ (form.querySelectorAll("input, textarea, select"));
  return Object.fromEntries([...inputs].map((input) => [input.name, input]));
}

/**
 * Returns the form's inputs for these fields, after adding those that it lacks.
 * @param {ParentNode} form
 * @param {string[]} names
 * @param {(element: HTMLElement) => void} add puts an input with its label into the form
 */
export function productInputs(form, names, add) {
  const existing = inputsOf(form);
  for (const name of names.filter((name) => !(name in existing))) {
    const { label, kind } = FIELDS[name];
    const input = createElement(kind === "html" ? "textarea" : "input", "");
    input.name = name;
    if (kind === "flag") input.setAttribute("type", "checkbox");
    if (kind === "integer" || kind === "money") input.inputMode = kind === "money" ? "decimal" : "numeric";
    add(createElement("div", "cell", createElement("label", "", `${label} `, input)));
  }
  return inputsOf(form);
}

/**
 * Sets a text if it differs, so that a live region announces it once.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Input} input */
export function valueOf(input) {
  return input instanceof HTMLInputElement && input.type === "checkbox" ? input.checked : input.value;
}

/**
 * Sets an input's value if it differs, because setting it moves the caret.
 * @param {Input} input
 * @param {string | boolean} value
 */
export function setValue(input, value) {
  if (typeof value === "boolean") /** @type {HTMLInputElement} */ (input).checked = value;
  else if (input.value !== value) input.value = value;
}

let notes = 0;

/**
 * Shows a note below an input, and connects it for screen readers.
 * @param {Input} input
 * @param {string} text "" removes the note
 * @param {boolean} invalid
 */
export function setNote(input, text, invalid) {
  const label = /** @type {HTMLElement} */ (input.closest("label"));
  let note = /** @type {HTMLElement | null} */ (label.nextElementSibling);
  if (!note?.classList.contains("note")) {
    if (!text) return;
    note = createElement("p", "note");
    note.id = `note-${++notes}`;
    label.after(note);
    input.setAttribute("aria-describedby", note.id);
  }
  setText(note, text);
  note.hidden = !text;
  note.classList.toggle("is-wrong", invalid);
  if (invalid) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
}

/** @type {WeakMap<HTMLDialogElement, () => void>} what to call when an open dialog has closed */
const closeCallbacks = new WeakMap();

/**
 * Opens a dialog. It closes by its own buttons and by Escape, and then calls onClose
 * once. The browser keeps the focus inside, and returns it afterwards.
 * @param {HTMLDialogElement} dialog
 * @param {() => void} [onClose]
 */
export function openDialog(dialog, onClose = () => {}) {
  finish(dialog);
  closeCallbacks.set(dialog, onClose);
  for (const button of dialog.querySelectorAll("[data-close]")) {
    /** @type {HTMLButtonElement} */ (button).onclick = () => dialog.close();
  }
  // The close event is delayed to the next frame. By then the dialog may be open again.
  dialog.onclose = () => {
    if (!dialog.open) finish(dialog);
  };
  dialog.showModal();
}

/** @param {HTMLDialogElement} dialog */
function finish(dialog) {
  const onClose = closeCallbacks.get(dialog);
  closeCallbacks.delete(dialog);
  onClose?.();
}
