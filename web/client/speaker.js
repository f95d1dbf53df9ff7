// Says to who cannot see it what has changed: one polite live region of ours, so
// that a screen reader reads the news once, between other things.

const TOGETHER = 1_000;
/** Who listens is not to be read more at once. */
const MOST = 5;
const ANNOUNCE = "data-live-announce";

/** @param {Element} element */
const texts = (element) => [...element.querySelectorAll(`[${ANNOUNCE}]`)].map((e) => `${e.getAttribute(ANNOUNCE)}: ${e.textContent?.trim()}`);

/**
 * @param {Document} doc
 * @param {(f: () => void, ms: number) => any} later
 * @returns {(element: Element, key: string) => (now: Element) => void} notes what an element says before it changes; what it returns is called with what it then is
 */
export function speaker(doc, later) {
  /** @type {HTMLElement | undefined} */
  let region;
  /** @type {Map<string, string>} */
  const news = new Map();
  const say = () => {
    if (region) region.textContent = [...news.values()].slice(-MOST).join(". ");
    news.clear();
  };
  return (element, key) => {
    const was = texts(element);
    // A region is heard only if it was there before its text.
    if (was.length && !region) {
      region = doc.createElement("div");
      region.setAttribute("aria-live", "polite");
      region.style.cssText = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)";
      doc.body.append(region);
    }
    return (now) => {
      const { top, bottom } = now.getBoundingClientRect();
      if (doc.hidden || bottom < 0 || top > (doc.defaultView?.innerHeight ?? 0)) return;
      texts(now).forEach((text, n) => {
        if (!was.length || was.includes(text)) return;
        if (!news.size) later(say, TOGETHER);
        news.set(key + n, text);
      });
    };
  };
}
