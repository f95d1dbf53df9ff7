// Fragments by plain HTTP, which anything on the way may keep: those of which only
// the version was told, and those that one of several tabs lacks. What could not be
// had is tried again until nobody wants it any more.

import { MAX_FRAGMENTS } from "./limits.js";
import { backOff } from "./timer.js";
import { get, lists } from "./transports.js";
import { warn } from "./wire.js";

/** @typedef {import("./tabs.js").Item} Item */

/**
 * @param {import("./transports.js").Env} env
 * @param {string} endpoint the tier's origin
 * @param {(fragment: import("./wire.js").Fragment) => void} got
 * @returns {(item: Item) => void} says that an item is needed, at the version that it has when it is asked for
 */
export const gets = (env, endpoint, got) => {
  /** @type {Set<Item>} */
  const needs = new Set();
  let busy = false;
  let failures = 0;
  let pause = 0;

  const run = async () => {
    pause = 0;
    // In this order, so that all browsers ask for the same addresses.
    const all = [...needs]
      .filter((item) => item.tabs.size && !item.fragment)
      .sort((a, b) => +(a.view > b.view) || -(a.view < b.view) || a.id - b.id);
    needs.clear();
    for (const item of all.splice(MAX_FRAGMENTS)) needs.add(item);
    await (all[2] ? ask(all) : each(all));
    failures = pause ? failures + 1 : 0;
    busy = needs.size > 0;
    if (busy) env.setTimeout(run, pause);
  };

  /** @param {Item[]} items */
  const each = (items) => Promise.all(items.map((item) => ask([item])));

  /** @param {Item[]} items */
  const ask = async (items) => {
    const [{ view, id, version }] = items;
    for (const item of items) item.asked = item.version;
    try {
      const answer = JSON.parse(await get(env, endpoint + (items[1] ? `/fragments?ids=${lists(items)}` : `/fragments/${view}/${id}?v=${version}`)));
      for (const f of answer.fragments ?? [answer]) got(f);
      // There was more than an answer may have: what comes after is asked for at once.
      if (answer.next) for (const item of items.slice(answer.next)) needs.add(item);
    } catch (/** @type {any} */ error) {
      const { status, after = 0 } = error;
      if (/^4(?!29)/.test(status)) {
        // One that is wrong is not to take the others with it.
        if (items[1]) await each(items);
        else warn({ id, view, status });
        return;
      }
      pause = Math.max(pause, after + backOff(env, failures + 1));
      for (const item of items) needs.add(item);
    }
  };

  return (item) => {
    needs.add(item);
    if (!busy) queueMicrotask(run); // what is needed together is asked for together
    busy = true;
  };
};
