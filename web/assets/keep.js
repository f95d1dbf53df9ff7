// What a visitor has done in an element outlives its replacement: focus, caret,
// what was typed or chosen, what was opened, and how far things are scrolled.

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field */

const FIELDS = "input, textarea, select";
/** Inputs whose caret can be read and set (HTML, "do not apply" of selectionStart). */
const WITH_CARET = new Set(["text", "search", "url", "tel", "password", "textarea"]);

/**
 * Puts fresh in the place of old, with what the visitor did in old.
 * @param {Element} old
 * @param {Element} fresh
 */
export function replaceKeeping(old, fresh) {
  const fields = touched(old);
  const focus = focused(old);
  const opened = [...old.querySelectorAll("details")].map((d) => d.open);
  const scrolled = scrolls(old);
  const view = old.ownerDocument.defaultView;
  const [x, y] = [view?.scrollX ?? 0, view?.scrollY ?? 0];

  old.replaceWith(fresh);

  for (const { key, apply } of fields) {
    const field = find(fresh, key);
    if (field) apply(field);
  }
  fresh.querySelectorAll("details").forEach((d, i) => {
    if (i < opened.length) d.open = /** @type {boolean} */ (opened[i]);
  });
  for (const { path, left, top } of scrolled) {
    const element = follow(fresh, path);
    if (element) [element.scrollLeft, element.scrollTop] = [left, top];
  }
  focus?.(fresh);
  if (view && (view.scrollX !== x || view.scrollY !== y)) view.scrollTo(x, y);
}

/**
 * A field by its name, or else its id, and which of those with that name.
 * @typedef {{name: string, nth: number}} Key
 */

/**
 * @param {Field} f
 * @returns {string}
 */
function nameOf(f) {
  // Radio buttons share a name; their value tells them apart.
  return f.name ? `${f.name}${f.type === "radio" ? `=${f.value}` : ""}` : `#${f.id}`;
}

/**
 * @param {Element} root
 * @param {Field} field
 * @returns {Key}
 */
function keyOf(root, field) {
  const name = nameOf(field);
  return { name, nth: named(root, name).indexOf(field) };
}

/**
 * @param {Element} root
 * @param {string} name
 * @returns {Field[]}
 */
function named(root, name) {
  const all = /** @type {Field[]} */ ([...root.querySelectorAll(FIELDS)]);
  return all.filter((f) => nameOf(f) === name);
}

/**
 * @param {Element} root
 * @param {Key} key
 * @returns {Field | undefined}
 */
function find(root, { name, nth }) {
  return named(root, name)[nth];
}

/**
 * The fields that differ from how they came. The others follow the new HTML.
 * @param {Element} root
 * @returns {{key: Key, apply: (f: Field) => void}[]}
 */
function touched(root) {
  const kept = [];
  for (const field of /** @type {NodeListOf<Field>} */ (root.querySelectorAll(FIELDS))) {
    const apply = changeOf(field);
    if (apply) kept.push({ key: keyOf(root, field), apply });
  }
  return kept;
}

/**
 * How to do in another field what was done in this one; undefined if nothing was.
 * @param {Field} field
 * @returns {((f: any) => void) | undefined}
 */
function changeOf(field) {
  if (field.type === "file") return undefined; // no script may set it
  if ("options" in field) {
    const options = [...field.options];
    // A select without a default shows its first option.
    const first = !field.multiple && !options.some((o) => o.defaultSelected);
    if (options.every((o, i) => o.selected === (o.defaultSelected || (first && i === 0)))) return undefined;
    const chosen = new Set(options.filter((o) => o.selected).map((o) => o.value));
    return (f) => {
      for (const o of f.options) o.selected = chosen.has(o.value);
    };
  }
  if (field.type === "checkbox" || field.type === "radio") {
    const { checked, defaultChecked } = /** @type {HTMLInputElement} */ (field);
    return checked === defaultChecked ? undefined : (f) => (f.checked = checked);
  }
  const { value, defaultValue } = field;
  return value === defaultValue ? undefined : (f) => (f.value = value);
}

/**
 * How to give the focus back, with the caret; undefined if it was elsewhere.
 * @param {Element} root
 * @returns {((fresh: Element) => void) | undefined}
 */
function focused(root) {
  const active = root.ownerDocument.activeElement;
  if (!active || !root.contains(active)) return undefined;
  const field = active.matches(FIELDS) ? /** @type {Field} */ (active) : undefined;
  const key = field && keyOf(root, field);
  const path = pathOf(root, active);
  const caret = field && "selectionStart" in field && WITH_CARET.has(field.type)
    ? /** @type {const} */ ([field.selectionStart, field.selectionEnd, field.selectionDirection ?? undefined])
    : undefined;
  return (fresh) => {
    const target = (key && find(fresh, key)) ?? follow(fresh, path);
    if (!(target instanceof (fresh.ownerDocument.defaultView ?? window).HTMLElement)) return;
    target.focus({ preventScroll: true });
    if (caret && "setSelectionRange" in target) {
      /** @type {HTMLInputElement} */ (target).setSelectionRange(...caret);
    }
  };
}

/**
 * Where things are scrolled to.
 * @param {Element} root
 */
function scrolls(root) {
  return [root, ...root.querySelectorAll("*")]
    .filter((e) => e.scrollLeft !== 0 || e.scrollTop !== 0)
    .map((e) => ({ path: pathOf(root, e), left: e.scrollLeft, top: e.scrollTop }));
}

/**
 * The way from root to element: of each step its tag and which of that tag.
 * @param {Element} root
 * @param {Element} element
 * @returns {{tag: string, nth: number}[]}
 */
function pathOf(root, element) {
  const path = [];
  for (let e = element; e !== root && e.parentElement; e = e.parentElement) {
    const tag = e.tagName;
    path.unshift({ tag, nth: [...e.parentElement.children].filter((c) => c.tagName === tag).indexOf(e) });
  }
  return path;
}

/**
 * @param {Element} root
 * @param {{tag: string, nth: number}[]} path
 * @returns {Element | undefined}
 */
function follow(root, path) {
  /** @type {Element | undefined} */
  let e = root;
  for (const { tag, nth } of path) e = e && [...e.children].filter((c) => c.tagName === tag)[nth];
  return e;
}
