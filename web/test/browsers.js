// Many pages in one process, each with the client as browsers have it: a page is
// loaded, shows what comes, is left after a while, and the next one is loaded.
// What happens is told on standard output, a JSON array a line:
//
//   [ms, page, "load" | "shown", [[id, version, view, title], …]]
//   [ms, page, "live" | "offline" | "left"]
//   ["seen", page, [[id, version, view, title], …]]   the answer to "look"
//
// Standard input takes commands: "stay" (pages are left no more) and "look".
//
// The variable MODE may be "notify": fragments come by HTTP then.
//
//   node browsers.js ORIGIN PAGES FIRST PATH…

import { createInterface } from "node:readline";
import { Window } from "happy-dom";
import WebSocket from "ws";
import { morph } from "../client/morph.js";
import { page } from "../client/page.js";
import { tab } from "../client/tab.js";
import { tabs } from "../client/tabs.js";
import { PROTOCOL } from "../client/wire.js";

const [origin, pages, first, ...paths] = process.argv.slice(2);
const { document, CustomEvent, AbortController } = new Window({ url: origin });
Object.assign(globalThis, { document, CustomEvent, AbortController });

const tell = (...line) => process.stdout.write(JSON.stringify(line) + "\n");
const now = () => performance.timeOrigin + performance.now();
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

/** @type {Map<number, Element>} */
const open = new Map();
let leaves = true;

const content = (element) => [
  Number(element.getAttribute("data-product-id")),
  Number(element.getAttribute("data-product-version")),
  element.getAttribute("data-view"),
  element.querySelector(".title")?.textContent.trim() ?? "",
];
const all = (root) => [...root.querySelectorAll("[data-product-id][data-view]")].map(content);

async function load(path) {
  for (;;) {
    let response, text;
    try {
      response = await fetch(origin + path, { signal: AbortSignal.timeout(5000) });
      text = await response.text();
    } catch {
      // as a shopper would: once more
    }
    if (text !== undefined && (response.ok || [404, 410].includes(response.status))) return text; // "not available" is a page too
    if (text !== undefined && response.status < 500) throw new Error(`${path}: ${response.status} ${text}`);
    await pause(300 + 400 * Math.random());
  }
}

/** A connection for each page, as if each were in a browser of its own. */
const connection = () => tabs(`${PROTOCOL} ${process.env.MODE ?? "full"} ${origin}`, {
  WebSocket: class extends WebSocket {
    constructor(url, protocol) {
      super(url, protocol, { origin });
      this.on("error", () => {}); // a close follows
    }
  },
  fetch,
  Math,
  setTimeout,
  clearTimeout,
});

async function shop(number) {
  for (let visit = number; ; visit++) {
    const html = await load(paths[visit % paths.length]);
    const root = document.createElement("div");
    document.body.append(root);
    root.innerHTML = html.slice(html.indexOf("<main"), html.indexOf("</main>"));
    if (all(root).length === 0) throw new Error(`nothing is shown by ${html}`);
    tell(now(), number, "load", all(root));
    root.addEventListener("shelfcast:updated", (event) => tell(now(), number, "shown", [content(event.target)]));
    const end = new AbortController();
    const live = tab({
      shared: () => undefined,
      own: (port) => connection()(port),
      status: (status) => status !== "connecting" && tell(now(), number, status),
      tells: true,
      via: () => 0,
    });
    page(root, { watch: live.watch, morph }, () => {}, end.signal, { setTimeout });
    live.resume();
    open.set(number, root);
    do await pause(20_000 + 40_000 * Math.random());
    while (!leaves);
    open.delete(number);
    tell(now(), number, "left");
    end.abort();
    live.pause();
    root.remove();
  }
}

createInterface({ input: process.stdin })
  .on("line", (command) => {
    if (command === "stay") leaves = false;
    if (command === "look") for (const [number, root] of open) tell("seen", number, all(root));
  })
  .on("close", () => process.exit());

for (let n = 0; n < Number(pages); n++) void shop(Number(first) + n);
