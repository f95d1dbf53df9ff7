// The built-in shop pages: live updates with a status text, a highlight on changes, and
// a placeholder for pictures that do not load.

import { connect } from "./shelfcast.js";

/** The data attribute that holds the text of each status in the page's language. */
const TEXTS = /** @type {const} */ ({ connecting: "saidConnecting", live: "saidLive", offline: "saidOffline" });

connect({
  onStatus(status) {
    const sign = /** @type {HTMLElement | null} */ (document.querySelector("[data-live-status]"));
    if (!sign || sign.dataset.liveStatus === status && sign.textContent) return;
    sign.dataset.liveStatus = status;
    sign.textContent = sign.dataset[TEXTS[status]] ?? "";
  },
});

document.addEventListener("shelfcast:updated", (event) => {
  const element = /** @type {Element} */ (event.target);
  const name = element.querySelector("h1")?.textContent; // only on a product's own page
  if (name) document.title = [name.trim(), ...document.title.split(" · ").slice(-1)].join(" · ");
  element.getBoundingClientRect(); // restarts the animation: forces a layout without the class
  element.classList.add("is-updated");
  markBroken(element);
});

// Error events do not bubble, so listen in the capture phase.
document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement) event.target.classList.add("is-missing");
  },
  true,
);

/**
 * Marks pictures that failed before the listener was added.
 * @param {ParentNode} root
 */
function markBroken(root) {
  for (const img of root.querySelectorAll("img")) {
    if (img.complete && img.naturalWidth === 0) img.classList.add("is-missing");
  }
}
markBroken(document);
