// The page on which staff manage products. It uses the public admin API only.

import { Api, isAbort, newKey, Problem } from "./admin-api.js";
import { ChangeFeed } from "./admin-changes.js";
import { CreateDialog } from "./admin-create.js";
import { find, inputsOf, openDialog, setText } from "./admin-dom.js";
import { formatAuthor, formatRemoved, Formatter } from "./admin-format.js";
import { HistoryDialog } from "./admin-history.js";
import { ProductList } from "./admin-list.js";
import { PageCounter } from "./admin-page-counts.js";
import { RepriceDialog } from "./admin-reprice.js";
import { SearchForm } from "./admin-search-form.js";

const TOKEN_KEY = "shelfcast.token";
/** How long a notice is shown, in milliseconds. */
const NOTICE_DURATION = 6000;

/** @type {Record<import("./admin-changes.js").Status, string>} */
const STATUS_TEXTS = { connecting: "Connecting", live: "Live", polling: "Live (polling)", offline: "Reconnecting", off: "Paused" };

/** @type {import("./admin-api.js").Caller | undefined} */
let caller;
const format = new Formatter(document.documentElement.dataset.locale ?? "en");
const signInForm = /** @type {HTMLFormElement} */ (find("#sign-in"));
const api = new Api({
  fetch: (path, init) => fetch(path, init),
  sleep: (ms) => new Promise((resume) => setTimeout(resume, ms)),
  random: Math.random,
  now: Date.now,
  key: newKey,
  onUnauthorized: (problem) => signIn(problem.message + (caller ? " Sign in again. Your unsaved changes are still here." : "")),
});

// Messages.

/** @type {any} */
let noticeTimer;

/** @param {string} text */
function notify(text) {
  clearTimeout(noticeTimer);
  find("#notice").textContent = text;
  noticeTimer = setTimeout(() => (find("#notice").textContent = ""), NOTICE_DURATION);
}

/**
 * Shows an error that stops the page, with a button to try again.
 * @param {unknown} error
 * @param {() => void} retry
 */
function showError(error, retry) {
  if (isAbort(error)) return;
  if (!(error instanceof Problem)) throw error;
  if (error.status === 401) return; // the sign-in form shows it
  setText(find("#error p"), error.message);
  find("#error").hidden = false;
  find("#error button").onclick = () => {
    find("#error").hidden = true;
    retry();
  };
}

/**
 * Asks the person to confirm.
 * @param {{title: string, text: string, yes: string}} question
 * @returns {Promise<boolean>}
 */
function confirm({ title, text, yes }) {
  const dialog = /** @type {HTMLDialogElement} */ (find("#confirm"));
  find("h2", dialog).textContent = title;
  find("p", dialog).textContent = text;
  find("[data-yes]", dialog).textContent = yes;
  return new Promise((answer) => {
    let confirmed = false;
    find("[data-yes]", dialog).onclick = () => {
      confirmed = true;
      dialog.close();
    };
    find("[data-no]", dialog).onclick = () => dialog.close();
    openDialog(dialog, () => answer(confirmed));
  });
}

// The parts of the page.

const list = new ProductList({
  api, format, notify, confirm, onEdit,
  caller: () => ({ key: caller?.key ?? "", writable: mayWrite() }),
  showHistory: (product) => historyDialog.show(product),
}, () => pageCounter.update());
const historyDialog = new HistoryDialog(api, format);
const repriceDialog = new RepriceDialog(api, format, notify);
const createDialog = new CreateDialog(api, (product) => {
  list.add(product);
  notify([`Created “${product.title}”.`, formatRemoved(product)].join(" ").trim());
});
const searchForm = new SearchForm((search) => list.load(search), showError);
const pageCounter = new PageCounter(api, {
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  visible: () => !document.hidden,
  ids: () => list.onScreen.map((row) => row.id),
  onCounts(ids, counts) {
    for (const id of ids) list.rows.get(id)?.view.setPageCount(counts.products?.[id] ?? 0, counts.complete);
  },
});
const changeFeed = new ChangeFeed(api, {
  random: Math.random,
  now: Date.now,
  setTimeout: (f, ms) => setTimeout(f, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  onChanges: (revs) => list.observe(revs),
  onGap: () => list.markAllStale(),
  onStatus(status) {
    const sign = find("#live");
    sign.dataset.state = status;
    sign.textContent = STATUS_TEXTS[status];
  },
});

function mayWrite() {
  return caller?.scopes.includes("products:write") ?? false;
}

let scheduled = false;

/** Updates the count of unsaved changes, once for all edits of one event. */
function onEdit() {
  if (scheduled) return;
  scheduled = true;
  queueMicrotask(() => {
    scheduled = false;
    const unsaved = list.unsaved.length;
    find("#unsaved").hidden = unsaved === 0;
    setText(find("#unsaved p"), `${format.count(unsaved, "product")} with unsaved changes`);
    void list.reloadStale();
  });
}

// Signing in and out.

/** @param {string} [why] */
function signIn(why = "") {
  changeFeed.stop();
  pageCounter.stop();
  signInForm.hidden = false;
  find(".problem", signInForm).textContent = why;
  inputsOf(signInForm).token.focus();
}

async function start() {
  api.token = sessionStorage.getItem(TOKEN_KEY) ?? "";
  if (!api.token) return signIn();
  try {
    // Changes are followed from before the first products are loaded.
    const positioned = list.search ? undefined : changeFeed.seekToNow().catch(() => {});
    const [me] = await Promise.all([api.get("/caller"), positioned]);
    caller = me;
    if (!caller?.scopes.some((scope) => scope.startsWith("products:"))) {
      return signIn(`This token (${caller?.name}) has no access to products.`);
    }
    showPage(caller);
    if (!list.search) await searchForm.start();
    changeFeed.start();
    pageCounter.start();
  } catch (error) {
    showError(error, start);
  }
}

/** @param {import("./admin-api.js").Caller} caller */
function showPage({ name, key }) {
  signInForm.hidden = true;
  for (const id of ["#workspace", "#who", "#live", "#keys"]) find(id).hidden = false;
  find("#who .name").textContent = formatAuthor({ author: name, author_key: key });
  find("#who .scope").hidden = mayWrite();
  for (const id of ["#new", "#bulk-open"]) find(id).hidden = !mayWrite();
  list.render();
}

async function signOut() {
  const unsaved = list.unsaved.length;
  const confirmed = unsaved === 0 || await confirm({ title: "Sign out?", text: `Your unsaved changes to ${format.count(unsaved, "product")} will be lost.`, yes: "Sign out" });
  if (!confirmed) return;
  sessionStorage.removeItem(TOKEN_KEY);
  caller = undefined;
  list.clear();
  searchForm.stop();
  for (const id of ["#workspace", "#who", "#live", "#keys"]) find(id).hidden = true;
  onEdit();
  signIn();
}

signInForm.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN_KEY, inputsOf(signInForm).token.value.trim());
  signInForm.reset();
  void start();
});
find("#sign-out").addEventListener("click", () => void signOut());

/**
 * Takes the token of a link like /admin#token=…, and removes it from the address bar.
 * Anybody can make a link, so replacing another token needs a confirmation.
 * @returns {Promise<boolean>} whether there is a token to sign in with
 */
async function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!token) return false;
  history.replaceState(null, "", location.pathname + location.search);
  const previous = sessionStorage.getItem(TOKEN_KEY);
  const confirmed = !previous || previous === token || await confirm({
    title: "Sign in with another token?", yes: "Use the new token",
    text: "You are already signed in. If you use the token of this link, everything you save is recorded under its owner’s name.",
  });
  if (confirmed) sessionStorage.setItem(TOKEN_KEY, token);
  return confirmed;
}

// The rest of the page.

find("#new").addEventListener("click", () => createDialog.show([...list.rows.values()][0]?.draft.product.currency ?? "EUR"));
find("#bulk-open").addEventListener("click", () => repriceDialog.show(list.search ?? searchForm.current));
find("#unsaved [data-save]").addEventListener("click", async () => {
  for (const row of list.unsaved) await row.save();
});
find("#unsaved [data-undo]").addEventListener("click", () => list.unsaved.forEach((row) => row.revert()));
addEventListener("keydown", (event) => {
  const field = event.target instanceof Element && event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
  if (event.key !== "/" || field || event.ctrlKey || event.metaKey || event.altKey || !caller) return;
  event.preventDefault();
  find("#filter").focus();
});
addEventListener("beforeunload", (event) => {
  if (list.unsaved.length > 0) event.preventDefault();
});
addEventListener("hashchange", async () => {
  if (await takeToken()) void start();
});
addEventListener("online", () => changeFeed.retryNow());
document.addEventListener("visibilitychange", () => {
  if (!caller || !signInForm.hidden) return;
  if (document.hidden) return changeFeed.stop(); // browsers allow few connections to a host, and the server few streams
  changeFeed.start();
  pageCounter.update();
  void list.reloadStale();
});

void takeToken().then(start);
