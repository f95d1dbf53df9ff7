// Our own shop pages: live, with a sign that says so, a glow on what has
// changed, and a placeholder for pictures that do not come.

import { connect } from "./shelfcast.js";

/** The page has the words for each status, in its language. */
const WORDS = /** @type {const} */ ({ connecting: "saidConnecting", live: "saidLive", offline: "saidOffline" });

connect({
  onStatus(status) {
    const sign = /** @type {HTMLElement | null} */ (document.querySelector("[data-live-status]"));
    if (!sign || sign.dataset.liveStatus === status && sign.textContent) return;
    sign.dataset.liveStatus = status;
    sign.textContent = sign.dataset[WORDS[status]] ?? "";
  },
});

document.addEventListener("shelfcast:updated", (event) => {
  const element = /** @type {Element} */ (event.target);
  const name = element.querySelector("h1")?.textContent; // of a product's own page
  if (name) document.title = [name.trim(), ...document.title.split(" · ").slice(-1)].join(" · ");
  element.getBoundingClientRect(); // the glow of the last time is over
  element.classList.add("is-updated");
  markBroken(element);
});

// An error does not bubble; it is seen on its way down.
document.addEventListener(
  "error",
  (event) => {
    if (event.target instanceof HTMLImageElement) event.target.classList.add("is-missing");
  },
  true,
);

/**
 * Pictures that had failed before anybody listened.
 * @param {ParentNode} root
 */
function markBroken(root) {
  for (const img of root.querySelectorAll("img")) {
    if (img.complete && img.naturalWidth === 0) img.classList.add("is-missing");
  }
}
markBroken(document);
