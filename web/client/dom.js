/**
 * Returns the value of an attribute; null or undefined if node has none or is no element.
 * @param {any} node
 * @param {string} name
 */
export const attribute = (node, name) => node?.getAttribute?.(name);

/**
 * Dispatches the event shelfcast:name, which bubbles and can be canceled.
 * @param {Node} node
 * @param {string} name
 * @param {unknown} detail
 * @returns {boolean} false if a listener canceled it
 */
export const emit = (node, name, detail) =>
  node.dispatchEvent(new CustomEvent(`shelfcast:${name}`, { bubbles: true, cancelable: true, detail }));
