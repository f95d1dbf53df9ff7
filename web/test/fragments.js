// Property test of the morph, for any DOM: two random versions of a fragment, what a
// random visitor does in the first one, and what must hold after the update to the
// second. It imports nothing, so that it runs in a browser too; the caller passes
// fast-check.

/** The fields of a form. A name has the same type in all fragments. */
const KINDS = { note: "text", search: "search", size: "number", words: "textarea", gift: "checkbox", colour: "radio", count: "select", many: "multiple" };
const OPTIONS = ["red", "green", "blue", "grey"];
const WORDS = ["", "1", "22", "7"];

/**
 * @param {typeof import("fast-check")} fc
 * @returns an arbitrary of {before, after, visit}: the HTML of both versions, and the visitor's actions
 */
export function stories(fc) {
  const word = fc.constantFrom(...WORDS);
  const defaults = fc.record({ text: word, checked: fc.boolean(), options: fc.subarray(OPTIONS, { minLength: 1 }), chosen: fc.option(fc.constantFrom(...OPTIONS)) });
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof({ maxDepth: 4 },
      fc.constant({ slot: true }),
      fc.constantFrom({ text: "a" }, { text: "b" }, { text: "" }),
      fc.record({
        tag: fc.constantFrom("div", "p", "span", "b"),
        class: fc.option(fc.constantFrom("x", "y", "z")),
        children: fc.array(tie("node"), { maxLength: 4 }),
      })),
  }));
  const fragment = fc
    .record({
      names: fc.shuffledSubarray(Object.keys(KINDS)),
      fields: fc.record(Object.fromEntries(Object.keys(KINDS).map((name) => [name, defaults]))),
      children: fc.array(node, { maxLength: 6 }),
      ids: fc.shuffledSubarray(["one", "two", "three"]),
    })
    .map(htmlOf);
  const visit = fc.record({
    typed: fc.dictionary(fc.constantFrom("note", "search", "size", "words"), fc.constantFrom("5", "66", "777"), { noNullPrototype: true }),
    toggled: fc.boolean(),
    picked: fc.dictionary(fc.constantFrom("colour", "count"), fc.constantFrom(...OPTIONS), { noNullPrototype: true }),
    several: fc.option(fc.subarray(OPTIONS)),
    focused: fc.option(fc.constantFrom(...Object.keys(KINDS))),
    caret: fc.tuple(fc.nat(3), fc.nat(3)),
    opened: fc.subarray(["one", "two", "three"]),
  });
  return fc.record({ before: fragment, after: fragment, visit });
}

/** Returns a fragment's HTML: fields fill the slots, and the others are appended. */
function htmlOf({ names, fields, children, ids }) {
  const left = [...names];
  const of = (node) => {
    if (node.slot) return left.length ? fieldOf(left.shift(), fields) : "";
    if ("text" in node) return node.text;
    const cls = node.class ? ` class="${node.class}"` : "";
    return `<${node.tag}${cls}>${node.children.map(of).join("")}</${node.tag}>`;
  };
  const body = children.map(of).join("");
  const rest = left.map((name) => `<label>${name} ${fieldOf(name, fields)}</label>`).join("");
  const details = ids.map((id) => `<details id="${id}"><summary>${id}</summary>${id}</details>`).join("");
  // The parser moves elements that may not be inside a p, so there are no p elements.
  return `<section data-product-id="1">${(body + rest).replaceAll("<p", "<i").replaceAll("</p", "</i")}${details}</section>`;
}

function fieldOf(name, fields) {
  const { text, checked, options, chosen } = fields[name];
  const option = (o) => `<option value="${o}"${o === chosen ? " selected" : ""}>${o}</option>`;
  switch (KINDS[name]) {
    case "textarea": return `<textarea name="${name}">${text}</textarea>`;
    case "checkbox": return `<input type="checkbox" name="${name}"${checked ? " checked" : ""}>`;
    case "radio": return options.map((o) => `<input type="radio" name="${name}" value="${o}"${o === chosen ? " checked" : ""}>`).join("");
    case "select": return `<select name="${name}">${options.map(option).join("")}</select>`;
    case "multiple": return `<select multiple name="${name}">${options.map(option).join("")}</select>`;
    default: return `<input type="${KINDS[name]}" name="${name}" value="${text}">`;
  }
}

/** Returns what a field shows, in a form that can be compared. */
function stateOf(fields) {
  const [first] = fields;
  if (first.type === "radio") return fields.find((f) => f.checked)?.value ?? "none";
  if (first.type === "checkbox") return first.checked;
  if (first.multiple) return [...first.options].filter((o) => o.selected).map((o) => o.value).join();
  return first.value;
}

/** Sets selects to their defaults: happy-dom picks another option than the selected one. */
function withDefaults(root) {
  for (const select of root.querySelectorAll("select")) {
    const options = [...select.options];
    const some = options.some((o) => o.hasAttribute("selected"));
    for (const o of options) o.selected = some || select.multiple ? o.hasAttribute("selected") : o === options[0];
  }
  return root;
}

const named = (root, name) => [...root.querySelectorAll(`[name="${name}"]`)];

/**
 * Does what the visitor does.
 * @param {Element} root in a document
 */
export function act(root, { typed, toggled, picked, several, focused, caret, opened }) {
  for (const [name, value] of Object.entries(typed)) for (const f of named(root, name)) f.value = value;
  for (const f of named(root, "gift")) f.checked = toggled;
  for (const [name, value] of Object.entries(picked)) {
    for (const f of named(root, name)) {
      if (f.type === "radio" && f.value === value) f.checked = true;
      else if (f.type !== "radio" && [...f.options].some((o) => o.value === value)) f.value = value;
    }
  }
  if (several) for (const f of named(root, "many")) for (const o of f.options) o.selected = several.includes(o.value);
  for (const id of opened) {
    const details = root.querySelector(`#${id}`);
    if (details) details.open = true;
  }
  const [field] = focused ? named(root, focused) : [];
  field?.focus();
  if (["note", "search", "words"].includes(focused)) field?.setSelectionRange(Math.min(...caret), Math.max(...caret));
}

/**
 * Plays a story and checks the result.
 * @param {Document} document
 * @param {(element: Element, fresh: Element) => void} morph
 * @returns {string[]} what is wrong
 */
export function play(document, morph, { before, after, visit }) {
  const place = document.createElement("div");
  document.body.append(place);
  try {
    const parse = (html) => {
      const holder = document.createElement("template");
      holder.innerHTML = html;
      return holder.content.firstElementChild;
    };
    place.innerHTML = before;
    const root = withDefaults(place.firstElementChild);
    const untouched = Object.fromEntries(Object.keys(KINDS).map((name) => [name, named(root, name)]).filter(([, f]) => f.length).map(([name, f]) => [name, stateOf(f)]));
    act(root, visit);
    const had = Object.fromEntries(Object.keys(untouched).map((name) => [name, { fields: named(root, name), state: stateOf(named(root, name)) }]));
    const active = document.activeElement;
    const caret = [active?.selectionStart, active?.selectionEnd];

    morph(root, withDefaults(parse(after)));

    const wrong = [];
    const aside = document.createElement("form"); // radio buttons of the same name must not be in one form
    document.body.append(aside);
    aside.innerHTML = after;
    const pristine = withDefaults(aside.firstElementChild);
    const closed = (e) => e.outerHTML.replaceAll(' open=""', "");
    if (closed(root) !== closed(pristine)) wrong.push(`it is ${closed(root)}`);
    for (const name of Object.keys(KINDS)) {
      const [now, fresh] = [named(root, name), named(pristine, name)];
      if (!now.length) continue;
      const was = had[name];
      const touched = was && was.state !== untouched[name];
      const possible = touched && ("options" in fresh[0]
        ? fresh[0].multiple || [...fresh[0].options].some((o) => o.value === was.state)
        : fresh[0].type !== "radio" || fresh.some((f) => f.value === was.state));
      let want = possible ? was.state : stateOf(fresh);
      if (possible && fresh[0].multiple) want = was.state.split(",").filter((value) => [...fresh[0].options].some((o) => o.value === value)).join();
      if (stateOf(now) !== want) wrong.push(`${name} shows ${stateOf(now)}, not ${want}`);
      if (was && fresh[0].type !== "radio" && was.fields[0] !== now[0] && root.contains(was.fields[0])) wrong.push(`${name} is another element`);
    }
    for (const id of visit.opened) {
      if (root.querySelector(`#${id}`) && before.includes(`id="${id}"`) && !root.querySelector(`#${id}`).open) wrong.push(`${id} is closed`);
    }
    const there = had[visit.focused] && named(root, visit.focused).find((f) => f.type !== "radio" || f.value === active.value);
    if (there) {
      const now = document.activeElement;
      if (now !== there) wrong.push("the focus is lost");
      const { length } = there.value ?? "";
      const within = (all) => `${all.map((c) => Math.min(c, length))}`; // happy-dom allows a caret behind the end
      const is = within([now.selectionStart, now.selectionEnd]);
      if (caret[0] != null && is !== within(caret)) wrong.push(`the caret is at ${is}, not ${caret}`);
    }
    aside.remove();
    return wrong;
  } finally {
    place.remove();
  }
}
