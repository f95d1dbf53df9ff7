// Simulates many browsers in one process. Each loads a page, keeps it up to date with
// the real client, leaves it after a while, and loads the next one. Events are written
// to standard output, a JSON array per line:
//
//   [ms, page, "load" | "shown", [[id, version, view, title], …]]
//   [ms, page, "live" | "offline" | "left"]
//   ["seen", page, [[id, version, view, title], …]]   the answer to "look"
//
// Standard input takes the commands "stay" (leave no more pages) and "look".
//
// With MODE=notify fragments come by HTTP.
//
//   node browsers.js ORIGIN PAGES FIRST PATH…

import { createInterface } from "node:readline";
import { Window } from "happy-dom";
import WebSocket from "ws";
import { morph } from "../client/morph.js";
import { watchPage } from "../client/page.js";
import { createPort } from "../client/port.js";
import { createHub } from "../client/hub.js";
import { PROTOCOL } from "../client/protocol.js";

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
      // try again
    }
    if (text !== undefined && (response.ok || [404, 410].includes(response.status))) return text; // "not available" is a page too
    if (text !== undefined && response.status < 500) throw new Error(`${path}: ${response.status} ${text}`);
    await pause(300 + 400 * Math.random());
  }
}

/** Returns a hub for one page, as if each page were in a browser of its own. */
const openHub = () => createHub(`${PROTOCOL} ${process.env.MODE ?? "full"} ${origin}`, {
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
    const port = createPort({
      shared: () => undefined,
      accept: (port) => openHub()(port),
      onStatus: (status) => status !== "connecting" && tell(now(), number, status),
      sample: true,
      transport: () => undefined,
    });
    watchPage(root, { watch: port.watch, morph }, () => {}, end.signal, { setTimeout });
    port.resume();
    open.set(number, root);
    do await pause(20_000 + 40_000 * Math.random());
    while (!leaves);
    open.delete(number);
    tell(now(), number, "left");
    end.abort();
    port.pause();
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
