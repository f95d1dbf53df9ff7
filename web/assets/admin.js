// The page to manage products with: a client of the admin API like any other.

import { aborted, Api, newKey, Problem } from "./admin-api.js";
import { Bulk } from "./admin-bulk.js";
import { Create } from "./admin-create.js";
import { fieldsOf, open, say, the } from "./admin-dom.js";
import { Finder } from "./admin-find.js";
import { Follow } from "./admin-follow.js";
import { History } from "./admin-history.js";
import { List } from "./admin-list.js";
import { OpenPages } from "./admin-pages.js";
import { lost, whoever, Words } from "./admin-words.js";

const KEY = "shelfcast.token";
/** So long a notice stands. */
const NOTICE = 6000;

/** @type {Record<import("./admin-follow.js").Status, string>} */
const LIVE = { connecting: "Connecting", live: "Live", polling: "Live, by asking", offline: "Reconnecting", off: "Paused" };

/** @type {import("./admin-api.js").Caller | undefined} */
let caller;
const words = new Words(document.documentElement.dataset.locale ?? "en");
const enter = /** @type {HTMLFormElement} */ (the("#enter"));
const api = new Api({
  fetch: (path, init) => fetch(path, init),
  pause: (ms) => new Promise((resume) => setTimeout(resume, ms)),
  random: Math.random,
  now: Date.now,
  key: newKey,
  refused: (problem) => signIn(problem.message + (caller ? " Sign in again: what is not saved is still here." : "")),
});

// What is said.

/** @type {any} */
let silence;

/** @param {string} text */
function notice(text) {
  clearTimeout(silence);
  the("#notice").textContent = text;
  silence = setTimeout(() => (the("#notice").textContent = ""), NOTICE);
}

/**
 * Something does not work that the page cannot do without.
 * @param {unknown} error
 * @param {() => void} again
 */
function trouble(error, again) {
  if (aborted(error)) return;
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return; // the form to sign in says so
  say(the("#trouble p"), error.message);
  the("#trouble").hidden = false;
  the("#trouble button").onclick = () => {
    the("#trouble").hidden = true;
    again();
  };
}

/**
 * @param {{title: string, text: string, yes: string}} question
 * @returns {Promise<boolean>}
 */
function ask({ title, text, yes }) {
  const dialog = /** @type {HTMLDialogElement} */ (the("#ask"));
  the("h2", dialog).textContent = title;
  the("p", dialog).textContent = text;
  the("[data-yes]", dialog).textContent = yes;
  return new Promise((answer) => {
    let sure = false;
    the("[data-yes]", dialog).onclick = () => {
      sure = true;
      dialog.close();
    };
    the("[data-no]", dialog).onclick = () => dialog.close();
    open(dialog, () => answer(sure));
  });
}

// The parts.

const list = new List({
  api, words, notice, ask, touched,
  self: () => ({ key: caller?.key ?? "", may: mayWrite() }),
  history: (product) => history_.show(product),
}, () => pages.soon());
const history_ = new History(api, words);
const bulk = new Bulk(api, words, notice);
const create = new Create(api, (made) => {
  list.add(made);
  notice([`Created “${made.title}”.`, lost(made)].join(" ").trim());
});
const finder = new Finder((search) => list.load(search), trouble);
const pages = new OpenPages(api, {
  later: (f, ms) => setTimeout(f, ms),
  cancel: (timer) => clearTimeout(timer),
  visible: () => !document.hidden,
  ids: () => list.onScreen.map((row) => row.id),
  counted(ids, census) {
    for (const id of ids) list.rows.get(id)?.face.count(census.products?.[id] ?? 0, census.complete);
  },
});
const follow = new Follow(api, {
  random: Math.random,
  now: Date.now,
  later: (f, ms) => setTimeout(f, ms),
  cancel: (timer) => clearTimeout(timer),
  changed: (revs) => list.hear(revs),
  gap: () => list.doubt(),
  status(status) {
    const sign = the("#live");
    sign.dataset.state = status;
    sign.textContent = LIVE[status];
  },
});

function mayWrite() {
  return caller?.scopes.includes("products:write") ?? false;
}

let touching = false;

/** Something was typed or saved: however much at a time, it is looked at once. */
function touched() {
  if (touching) return;
  touching = true;
  queueMicrotask(() => {
    touching = false;
    const unsaved = list.unsaved.length;
    the("#unsaved").hidden = unsaved === 0;
    say(the("#unsaved p"), `${words.whole.format(unsaved)} unsaved`);
    void list.catchUp();
  });
}

// Signing in and out.

/** @param {string} [why] */
function signIn(why = "") {
  follow.stop();
  pages.stop();
  enter.hidden = false;
  the(".problem", enter).textContent = why;
  fieldsOf(enter).token.focus();
}

async function start() {
  api.token = sessionStorage.getItem(KEY) ?? "";
  if (!api.token) return signIn();
  try {
    // The place from which changes are followed is before what is read.
    const place = list.search ? undefined : follow.begin().catch(() => {});
    const [me] = await Promise.all([api.get("/caller"), place]);
    caller = me;
    if (!caller?.scopes.some((scope) => scope.startsWith("products:"))) {
      return signIn(`The token of ${caller?.name} may not see products.`);
    }
    welcome(caller);
    if (!list.search) await finder.begin();
    follow.start();
    pages.start();
  } catch (error) {
    trouble(error, start);
  }
}

/** @param {import("./admin-api.js").Caller} caller */
function welcome({ name, key }) {
  enter.hidden = true;
  for (const id of ["#desk", "#who", "#live", "#keys"]) the(id).hidden = false;
  the("#who .name").textContent = whoever({ author: name, author_key: key });
  the("#who .scope").hidden = mayWrite();
  for (const id of ["#new", "#bulk-open"]) the(id).hidden = !mayWrite();
  list.repaint();
}

async function signOut() {
  const unsaved = list.unsaved.length;
  const sure = unsaved === 0 || await ask({ title: "Sign out?", text: `${words.count(unsaved, "product")} with something that is not saved will be as before.`, yes: "Sign out" });
  if (!sure) return;
  sessionStorage.removeItem(KEY);
  caller = undefined;
  list.clear();
  finder.end();
  for (const id of ["#desk", "#who", "#live", "#keys"]) the(id).hidden = true;
  touched();
  signIn();
}

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, fieldsOf(enter).token.value.trim());
  enter.reset();
  void start();
});
the("#leave").addEventListener("click", () => void signOut());

/**
 * A link may bring the token along; it is not left where it can be seen. It takes
 * the place of another one only if the person wants that: anybody can make a link.
 * @returns {Promise<boolean>} whether the token is a new one
 */
async function takeToken() {
  const brought = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!brought) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const had = sessionStorage.getItem(KEY);
  const sure = !had || had === brought || await ask({
    title: "Sign in with another token?", yes: "Use the new token",
    text: "You are signed in already, and this link brings another token. With it all that you save here is saved in the name of its owner.",
  });
  if (sure) sessionStorage.setItem(KEY, brought);
  return sure;
}

// The rest of the page.

the("#new").addEventListener("click", () => create.show([...list.rows.values()][0]?.draft.product.currency ?? "EUR"));
the("#bulk-open").addEventListener("click", () => bulk.show(list.search ?? finder.asked));
the("#unsaved [data-save]").addEventListener("click", async () => {
  for (const row of list.unsaved) await row.save();
});
the("#unsaved [data-back]").addEventListener("click", () => list.unsaved.forEach((row) => row.putBack()));
addEventListener("keydown", (event) => {
  const field = event.target instanceof Element && event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
  if (event.key !== "/" || field || event.ctrlKey || event.metaKey || event.altKey || !caller) return;
  event.preventDefault();
  the("#filter").focus();
});
addEventListener("beforeunload", (event) => {
  if (list.unsaved.length > 0) event.preventDefault();
});
addEventListener("hashchange", async () => {
  if (await takeToken()) void start();
});
addEventListener("online", () => follow.hurry());
document.addEventListener("visibilitychange", () => {
  if (!caller || !enter.hidden) return;
  if (document.hidden) return follow.stop(); // a browser has few connections to a host, and a server few places
  follow.start();
  pages.soon();
  void list.catchUp();
});

void takeToken().then(start);
