// The page to edit products with: a client of the admin API like any other.

/**
 * @typedef {object} Product
 * @property {number} id
 * @property {number} version
 * @property {string} sku
 * @property {string} title
 * @property {string} price
 * @property {string | null} compare_at_price
 * @property {string} currency
 * @property {number} stock
 * @property {boolean} published
 */

const KEY = "shelfcast.token";
const API = "/api/v1/products";

/**
 * @template {Element} T
 * @param {string} selector
 * @param {ParentNode} [root]
 * @returns {T}
 */
function the(selector, root = document) {
  return /** @type {T} */ (root.querySelector(selector));
}

const enter = /** @type {HTMLFormElement} */ (the("#enter"));
const create = /** @type {HTMLFormElement} */ (the("#create"));
const list = /** @type {HTMLElement} */ (the("#products"));
const more = /** @type {HTMLButtonElement} */ (the("#more"));
const filter = /** @type {HTMLInputElement} */ (the("#filter"));
/** @type {string | undefined} */
let next;

/** A failed call, in words for the person at the page. */
class Problem extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: object, version?: number}} [what]
 */
async function call(method, path, { body, version } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}` };
  if (body) headers["Content-Type"] = "application/json";
  if (version !== undefined) headers["If-Match"] = `"${version}"`;
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const details = (answer.errors ?? []).map((/** @type {{message: string}} */ e) => e.message);
    throw new Problem(response.status, [answer.detail ?? answer.title ?? response.statusText, ...details].join("; "));
  }
  return answer;
}

/**
 * What the form would change of the product.
 * @param {HTMLFormElement} form
 * @param {Product} p
 */
function changes(form, p) {
  const data = fields(form);
  const wanted = {
    title: data.title.value,
    price: data.price.value.trim(),
    compare_at_price: data.compare_at_price.value.trim() || null,
    stock: Number(data.stock.value),
    published: data.published.checked,
  };
  return Object.fromEntries(
    Object.entries(wanted).filter(([name, value]) => value !== p[/** @type {keyof Product} */ (name)]),
  );
}

/**
 * @param {HTMLFormElement} form
 * @returns {Record<string, HTMLInputElement>}
 */
function fields(form) {
  return Object.fromEntries([...form.querySelectorAll("input")].map((i) => [i.name, i]));
}

/**
 * @param {HTMLFormElement} form
 * @param {Product} p
 */
function fill(form, p) {
  the(".sku", form).textContent = p.sku;
  the(".version", form).textContent = `${p.currency} · version ${p.version}`;
  the(".number", form).textContent = `no. ${p.id}`;
  const f = fields(form);
  f.title.value = p.title;
  f.price.value = p.price;
  f.compare_at_price.value = p.compare_at_price ?? "";
  f.stock.value = String(p.stock);
  f.published.checked = p.published;
  mark(form, p);
}

/**
 * @param {HTMLFormElement} form
 * @param {Product} p
 */
function mark(form, p) {
  const changed = changes(form, p);
  for (const [name, input] of Object.entries(fields(form))) input.classList.toggle("is-changed", name in changed);
}

/** @param {Product} p */
function row(p) {
  const rows = document.importNode(/** @type {HTMLTemplateElement} */ (the("#row")).content, true);
  const item = /** @type {HTMLElement} */ (rows.firstElementChild);
  const form = /** @type {HTMLFormElement} */ (the("form", item));
  const problem = /** @type {HTMLElement} */ (the(".problem", item));
  form.dataset.id = String(p.id);
  item.dataset.text = `${p.title} ${p.sku}`.toLowerCase();
  fill(form, p);
  form.addEventListener("input", () => mark(form, p));

  /** @param {() => Promise<void>} act */
  const attempt = async (act) => {
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem.textContent = error.message;
      if (error.status !== 412) return;
      // Somebody was faster. What is typed stays, and is marked against the
      // product as it is now: saving again is then meant.
      p = await call("GET", `${API}/${p.id}`);
      problem.textContent = `Somebody else has changed this product: “${p.title}”, ${p.price} ${p.currency}, stock ${p.stock}. Save again to put your values over it.`;
      the(".version", form).textContent = `${p.currency} · version ${p.version}`;
      mark(form, p);
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      p = await call("PATCH", `${API}/${p.id}`, { body: changes(form, p), version: p.version });
      fill(form, p);
      notice(`Saved “${p.title}”.`);
    });
  });
  the(".archive", item).addEventListener("click", () => {
    if (!confirm(`Take “${p.title}” out of the shop?`)) return;
    attempt(async () => {
      await call("POST", `${API}/${p.id}/archive`, { version: p.version });
      item.remove();
      notice(`“${p.title}” is out of the shop.`);
    });
  });
  return item;
}

/** @param {string} text */
function notice(text) {
  the("#notice").textContent = text;
}

async function load() {
  const query = new URLSearchParams({ limit: "50" });
  if (next) query.set("cursor", next);
  const page = await call("GET", `${API}?${query}`);
  list.append(...page.products.map(row));
  next = page.next;
  more.hidden = !next;
  applyFilter();
}

function applyFilter() {
  const wanted = filter.value.trim().toLowerCase();
  for (const item of /** @type {Iterable<HTMLElement>} */ (list.children)) {
    item.hidden = !item.dataset.text?.includes(wanted);
  }
}

async function start() {
  const known = Boolean(sessionStorage.getItem(KEY));
  enter.hidden = known;
  for (const id of ["#new", "#leave"]) /** @type {HTMLElement} */ (the(id)).hidden = !known;
  if (!known) return;
  next = undefined;
  list.replaceChildren();
  try {
    await load();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) sessionStorage.removeItem(KEY);
    enter.hidden = error.status !== 401;
    the(".problem", enter).textContent = error.message;
    notice(error.message);
  }
}

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, fields(enter).token.value);
  enter.reset();
  start();
});
create.addEventListener("submit", async (event) => {
  event.preventDefault();
  const f = fields(create);
  try {
    const p = await call("POST", API, {
      body: {
        sku: f.sku.value, title: f.title.value, price: f.price.value.trim(), currency: f.currency.value,
        stock: Number(f.stock.value), image_url: f.image_url.value, published: f.published.checked,
      },
    });
    list.prepend(row(p));
    create.reset();
    create.hidden = true;
    notice(`Created “${p.title}”.`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    the(".problem", create).textContent = error.message;
  }
});
the("#new").addEventListener("click", () => (create.hidden = !create.hidden));
the("[data-cancel]").addEventListener("click", () => (create.hidden = true));
the("#leave").addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
more.addEventListener("click", load);
filter.addEventListener("input", applyFilter);

// A link may bring the token along; it is not left where it can be seen.
const brought = new URLSearchParams(location.hash.slice(1)).get("token");
if (brought) {
  sessionStorage.setItem(KEY, brought);
  history.replaceState(null, "", location.pathname);
}
start();
