// Announces changes to screen readers: one polite live region, which is read between
// other things.

import { attribute } from "./dom.js";
import { ANNOUNCE_DELAY, MAX_ANNOUNCEMENTS } from "./limits.js";

/** @param {Element} element */
const textsOf = (element) =>
  [...element.querySelectorAll("[data-live-announce]")].map((e) => `${attribute(e, "data-live-announce")}: ${e.textContent?.trim()}`);

/**
 * @param {Document} doc
 * @param {(f: () => void, ms: number) => any} setTimeout
 * @returns {(element: Element, id: number) => (updated: Element) => void} is called before an update; returns what to call after it
 */
export const createAnnouncer = (doc, setTimeout) => {
  /** @type {HTMLElement | undefined} */
  let region;
  /** @type {Map<string, string>} */
  const pending = new Map();
  return (element, id) => {
    const before = textsOf(element);
    // Screen readers only read a region that existed before its text.
    if (before[0] && !region) {
      region = doc.createElement("div");
      region.setAttribute("aria-live", "polite");
      region.style.cssText = "position:fixed;top:200%";
      doc.body.append(region);
    }
    return (updated) => {
      const { top, bottom } = updated.getBoundingClientRect();
      if (doc.hidden || bottom < 0 || top > (doc.defaultView?.innerHeight ?? 0)) return;
      textsOf(updated).forEach((text, n) => {
        if (!region || before.includes(text)) return;
        if (!pending.size) {
          setTimeout(() => {
            /** @type {HTMLElement} */ (region).textContent = [...pending.values()].slice(-MAX_ANNOUNCEMENTS).join(". ");
            pending.clear();
          }, ANNOUNCE_DELAY);
        }
        pending.set(`${id} ${n}`, text);
      });
    };
  };
};
