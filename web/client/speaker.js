// Says to who cannot see it what has changed: one polite live region of ours, so
// that a screen reader reads the news once, between other things.

import { MAX_NEWS, TOGETHER } from "./limits.js";
import { get } from "./wire.js";

/** @param {Element} element */
const texts = (element) => [...element.querySelectorAll("[data-live-announce]")].map((e) => `${get(e, "data-live-announce")}: ${e.textContent?.trim()}`);

/**
 * @param {Document} doc
 * @param {(f: () => void, ms: number) => any} later
 * @returns {(element: Element, id: number) => (now: Element) => void} notes what an element says before it changes; what it returns is called with what it then is
 */
export const speaker = (doc, later) => {
  /** @type {HTMLElement | undefined} */
  let region;
  /** @type {Map<string, string>} */
  const news = new Map();
  return (element, id) => {
    const was = texts(element);
    // A region is heard only if it was there before its text.
    if (was[0] && !region) {
      region = doc.createElement("div");
      region.setAttribute("aria-live", "polite");
      region.style.cssText = "position:fixed;top:200%";
      doc.body.append(region);
    }
    return (now) => {
      const { top, bottom } = now.getBoundingClientRect();
      if (doc.hidden || bottom < 0 || top > (doc.defaultView?.innerHeight ?? 0)) return;
      texts(now).forEach((text, n) => {
        if (!region || was.includes(text)) return;
        if (!news.size) {
          later(() => {
            /** @type {HTMLElement} */ (region).textContent = [...news.values()].slice(-MAX_NEWS).join(". ");
            news.clear();
          }, TOGETHER);
        }
        news.set(`${id} ${n}`, text);
      });
    };
  };
};
