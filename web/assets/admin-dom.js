// Elements of the page. Text goes into it as text, never as HTML.

/**
 * The first element of that selector, which is there.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {T}
 */
export function the(selector, root = document) {
  return /** @type {T} */ (root.querySelector(selector));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * What the template of that id makes.
 * @param {string} id
 */
export function fromTemplate(id) {
  const template = /** @type {HTMLTemplateElement} */ (the(`template#${id}`));
  return /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
}

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field */

/**
 * A form's fields by their names.
 * @param {ParentNode} form
 * @returns {Record<string, Field>}
 */
export function fieldsOf(form) {
  const fields = /** @type {NodeListOf<Field>} */ (form.querySelectorAll("input, textarea, select"));
  return Object.fromEntries([...fields].map((field) => [field.name, field]));
}

/**
 * Says something where it is announced, once.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {Field} field */
export function valueOf(field) {
  return field instanceof HTMLInputElement && field.type === "checkbox" ? field.checked : field.value;
}

/**
 * Puts a value into a field, and moves nothing if it is there already.
 * @param {Field} field
 * @param {string | boolean} value
 */
export function put(field, value) {
  if (typeof value === "boolean") /** @type {HTMLInputElement} */ (field).checked = value;
  else if (field.value !== value) field.value = value;
}

let notes = 0;

/**
 * Says below a field what there is to say of it, for eyes and for screen readers.
 * @param {Field} field
 * @param {string} text "": nothing
 * @param {boolean} wrong
 */
export function remark(field, text, wrong) {
  const label = /** @type {HTMLElement} */ (field.closest("label"));
  let note = /** @type {HTMLElement | null} */ (label.nextElementSibling);
  if (!note?.classList.contains("note")) {
    if (!text) return;
    note = make("p", "note");
    note.id = `note-${++notes}`;
    label.after(note);
    field.setAttribute("aria-describedby", note.id);
  }
  say(note, text);
  note.hidden = !text;
  note.classList.toggle("is-wrong", wrong);
  if (wrong) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}

/** @type {WeakMap<HTMLDialogElement, () => void>} what is to be done when an open dialog has closed */
const ends = new WeakMap();

/**
 * Opens a dialog, which closes with its own buttons and with Escape, and says
 * so once. The browser keeps the focus in it, and gives it back to where it was.
 * @param {HTMLDialogElement} dialog
 * @param {() => void} [closed]
 */
export function open(dialog, closed = () => {}) {
  end(dialog);
  ends.set(dialog, closed);
  for (const button of dialog.querySelectorAll("[data-close]")) {
    /** @type {HTMLButtonElement} */ (button).onclick = () => dialog.close();
  }
  // The event comes with a frame, and the dialog may be open again by then.
  dialog.onclose = () => {
    if (!dialog.open) end(dialog);
  };
  dialog.showModal();
}

/** @param {HTMLDialogElement} dialog */
function end(dialog) {
  const closed = ends.get(dialog);
  ends.delete(dialog);
  closed?.();
}
