// Gentle updates: an element becomes what new HTML says, and its nodes stay. What
// stays keeps what a visitor has done there: focus, caret, selection, what was
// typed, chosen or opened, scroll, and media and frames at work.
//
//  1. Nodes are matched: elements with an id, data-key or name by that, wherever
//     they are; all others among the children of a matched parent, first by tag
//     and class, then by tag, in order.
//  2. What nothing matches goes; what is matched is put in its place, and gets the
//     attributes, text and children of the new HTML.
//  3. Fields that nobody had touched show what the new HTML says; the others show
//     what the visitor did.

/** @typedef {HTMLInputElement & HTMLSelectElement} Field one of these, or a textarea */

const KEEP = "data-live-keep";

/**
 * The value of an attribute; a text has none.
 * @param {any} node
 * @param {string} name
 */
const get = (node, name) => node.getAttribute?.(name);

/**
 * What tells an element from others, wherever it is. Radio buttons share a name.
 * @param {Node} node
 */
const keyOf = (node) => {
  const name = get(node, "id") || get(node, "data-key") || get(node, "name");
  return name && [node.nodeName, name, /radio|checkbox/.test(get(node, "type")) && get(node, "value")].join();
};

/** @type {((node: Node) => string)[]} */
const likeness = [(node) => node.nodeName + get(node, KEEP) + get(node, "class"), (node) => node.nodeName + get(node, KEEP)];

/** @param {Element} e */
const below = (e) => [...(e.querySelectorAll?.("*") ?? [])];

/**
 * Makes an element what fresh is.
 * @param {Element} old
 * @param {Element} fresh is used up
 */
export function morph(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  const giveBack = remember(old, old.ownerDocument);
  const wanted = new Set(below(fresh).map(keyOf));
  /** @type {Map<Node, string>} elements with a key that is wanted, until they are matched */
  const free = new Map();
  /** @type {Set<Node>} */
  const matched = new Set();
  /** @type {ChildNode[]} what goes when all that is wanted of it has been taken out */
  const late = [];
  // What was touched comes last, because one radio button changes the others.
  const fields = below(old).map((e) => fieldOf(/** @type {Field} */ (e))).sort((a, b) => Number(a.touched) - Number(b.touched));
  for (const e of below(old)) {
    const key = keyOf(e);
    if (key && wanted.has(key) && !e.parentElement?.closest(`[${KEEP}]`)) free.set(e, key);
  }

  /**
   * Which nodes these will be.
   * @param {Element} parent
   * @param {ChildNode[]} all
   */
  const match = (parent, all) => {
    /** @type {Map<ChildNode, any>} */
    const match = new Map();
    const take = (/** @type {ChildNode} */ f, /** @type {Node | undefined} */ old) => {
      if (!old) return;
      match.set(f, old);
      matched.add(old);
      free.delete(old);
    };
    for (const f of all) {
      const same = [...free].filter(([, key]) => key === keyOf(f));
      take(f, (same.find(([e]) => e.parentNode === parent) ?? same[0])?.[0]);
    }
    for (const like of likeness) {
      const rest = [...parent.childNodes].filter((node) => !keyOf(node) && !matched.has(node));
      for (const f of all) {
        if (keyOf(f) || match.has(f)) continue;
        const n = rest.findIndex((node) => like(node) === like(f));
        if (n >= 0) take(f, rest.splice(n, 1)[0]);
      }
    }
    return match;
  };

  /**
   * @param {Element} parent
   * @param {Element} fresh
   */
  const children = (parent, fresh) => {
    const all = [...fresh.childNodes];
    const mine = match(parent, all);
    const stay = new Set(mine.values());
    for (const node of [...parent.childNodes]) {
      if (stay.has(node) || get(node, KEEP) != null) continue;
      if ([...free.keys(), ...stay].some((e) => node.contains(e))) late.push(node);
      else node.remove();
    }
    let at = parent.firstChild;
    for (const f of all) {
      while (at && !stay.has(at)) at = at.nextSibling;
      const node = mine.get(f);
      if (node === at && at) at = at.nextSibling;
      // Where moveBefore is not known, a move costs a frame its page, and the focus.
      else if (node) /** @type {any} */ (parent)[/** @type {any} */ (parent).moveBefore ? "moveBefore" : "insertBefore"](node, at);
      else {
        // Something new. If it is to hold what is elsewhere, that is brought.
        const holds = below(/** @type {Element} */ (f)).some((e) => [...free.values()].includes(keyOf(e)));
        const shell = /** @type {ChildNode} */ (holds ? f.cloneNode() : f);
        parent.insertBefore(shell, at);
        if (holds) mine.set(f, shell);
      }
    }
    for (const [f, node] of mine) {
      if (node.attributes) patch(node, /** @type {Element} */ (f));
      else if (node.nodeValue !== f.nodeValue) node.nodeValue = f.nodeValue;
    }
  };

  /**
   * @param {Element} old
   * @param {Element} fresh
   */
  const patch = (old, fresh) => {
    if (old.hasAttribute(KEEP)) return;
    for (const { name } of [...old.attributes, ...fresh.attributes]) {
      const value = get(fresh, name);
      // Whether something is open is the visitor's.
      if (value === get(old, name) || (name === "open" && /^(DETAILS|DIALOG)$/.test(old.nodeName))) continue;
      if (value == null) old.removeAttribute(name);
      else old.setAttribute(name, value);
    }
    children(old, fresh);
  };

  patch(old, fresh);
  for (const node of late) if (!matched.has(node)) node.remove();
  for (const { settle } of fields) settle();
  giveBack();
}

/** @param {HTMLSelectElement} select */
const chosen = (select) => [...select.selectedOptions].map((o) => o.value);

/** @param {HTMLSelectElement} select */
const chosenByDefault = ({ options, multiple }) => {
  const all = [...options].filter((o) => o.hasAttribute("selected"));
  return (all[0] || multiple ? all : [...options].slice(0, 1)).map((o) => o.value);
};

/**
 * Whether a visitor has touched a field, by its defaults, and how to make it right
 * once the new ones are known.
 * @param {Field} f or any other element
 */
function fieldOf(f) {
  if (f.nodeName === "SELECT") {
    const did = chosen(f);
    const touched = `${did}` !== `${chosenByDefault(f)}`;
    return {
      touched,
      settle() {
        const options = [...f.options];
        const now = touched && (f.multiple || options.some((o) => did.includes(o.value))) ? did : chosenByDefault(f);
        for (const o of options) set(o, "selected", now.includes(o.value));
      },
    };
  }
  const [name, byDefault] = /radio|checkbox/.test(f.type) ? /** @type {const} */ (["checked", "defaultChecked"]) : /** @type {const} */ (["value", "defaultValue"]);
  const did = f[name];
  // A radio button is let go by choosing another, should that be there still.
  const touched = f.validity?.badInput || (did !== f[byDefault] && (did !== false || f.type !== /** @type {string} */ ("radio")));
  return {
    touched,
    settle() {
      // No script may set a file.
      if (/^(INPUT|TEXTAREA)$/.test(f.nodeName) && f.type !== /** @type {string} */ ("file")) set(f, name, touched ? did : f[byDefault]);
    },
  };
}

/**
 * Sets what differs: a caret jumps when a value is set. Whatever is chosen is
 * chosen again, which lets the others go.
 * @param {any} object
 * @param {string} name
 * @param {unknown} value
 */
function set(object, name, value) {
  if (value === true || object[name] !== value) object[name] = value;
}

/**
 * How to give focus, caret and selection back, should they be lost.
 * @param {Element} root
 * @param {Document} doc
 */
function remember(root, doc) {
  const active = /** @type {any} */ (root.contains(doc.activeElement) && doc.activeElement);
  const { selectionStart: start, selectionEnd: end, selectionDirection: way } = active || {};
  const s = /** @type {Selection | null} */ (doc.getSelection?.());
  const ends = () => [s?.anchorNode, s?.anchorOffset, s?.focusNode, s?.focusOffset];
  const was = ends();
  const within = (/** @type {number} */ n) => Math.min(/** @type {any} */ (was[n + 1]), /** @type {any} */ (was[n]).nodeValue?.length ?? 0);
  return () => {
    if (active && active !== doc.activeElement && active.isConnected) active.focus({ preventScroll: true });
    if (start != null) {
      if (active.selectionStart !== start || active.selectionEnd !== end) active.setSelectionRange(start, end, way);
    } else if (was.some((w, n) => w !== ends()[n]) && /** @type {any} */ (was[0])?.isConnected && /** @type {any} */ (was[2])?.isConnected) {
      s?.setBaseAndExtent(/** @type {Node} */ (was[0]), within(0), /** @type {Node} */ (was[2]), within(2));
    }
  };
}
