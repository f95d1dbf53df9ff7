// Our own shop pages: live, with a sign that says so, a glow on what has
// changed, and a placeholder for pictures that do not come.

import { connect } from "./shelfcast.js";

const said = { connecting: "Connecting", live: "Live", offline: "Reconnecting" };

connect({
  onStatus(status) {
    const sign = document.querySelector("[data-live-status]");
    if (!sign || sign.getAttribute("data-live-status") === status && sign.textContent) return;
    sign.setAttribute("data-live-status", status);
    sign.textContent = said[status];
  },
});

document.addEventListener("shelfcast:updated", (event) => {
  const element = /** @type {Element} */ (event.target);
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
