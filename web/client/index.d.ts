/** "connecting", "live", or "offline": it will be back by itself. */
export type Status = "connecting" | "live" | "offline";

/** One product in one view, at one version. */
export interface Fragment {
  id: number;
  version: number;
  view: string;
  html: string;
  /** What the page should be called, of a product's own page. */
  title?: string;
  /** Shoppers may not see the product; html says so. */
  unavailable?: boolean;
  /** Older than what was shown, and right: the shop's database was restored. */
  reset?: boolean;
}

/** Makes element what fresh is. Idiomorph.morph is one. */
export type Morph = (element: Element, fresh: Element) => void;

export interface Options {
  /** The tier's origin, such as https://live.shop.example; by default the page's own. */
  endpoint?: string;
  /** "notify": the connection says which version is current, and the HTML comes by HTTP, from a CDN. */
  mode?: "full" | "notify";
  /** A script on the page's own origin that imports shelfcast-worker.js, so that all tabs share one connection. */
  worker?: string | URL;
  /** Where products are looked for; by default the document. */
  root?: Document | Element;
  /** Shows what has changed for a moment, in this colour; true: in yellow. */
  highlight?: string | boolean;
  /** The share of pages that tell the tier when they show what they were sent; 0.01. */
  sample?: number;
  /** Brings an element up to date; by default in place, with what the visitor does there. */
  morph?: Morph;
  onStatus?: (status: Status) => void;
}

export interface Connection {
  readonly status: Status;
  /** May be replaced at any time. */
  morph: Morph;
  /**
   * Calls back with what is newer than version, now and whenever it changes.
   * A callback that returns false has not shown it.
   * @returns how to stop
   */
  watch(product: { id: number; view: string; version?: number }, callback: (fragment: Fragment) => boolean | void): () => void;
  /** No more of it. */
  close(): void;
  /** Leaves the connection until resume; what has changed meanwhile comes then. */
  pause(): void;
  resume(): void;
  /** There is reason to think that the network works now. */
  hurry(): void;
  /** There is reason to think that it does not. */
  lost(): void;
}

/** Keeps the products of a page up to date. */
export function connect(options?: Options): Connection;

/** The connection of the script's own tag, if that has data-endpoint. */
export const live: Connection | undefined;

/** What shelfcast:before-update and shelfcast:updated tell of. */
export interface UpdateDetail {
  id: number;
  view: string;
  version: number;
  previous: number;
}

declare global {
  interface DocumentEventMap {
    "shelfcast:before-update": CustomEvent<UpdateDetail & { fresh: Element }>;
    "shelfcast:updated": CustomEvent<UpdateDetail>;
    "shelfcast:status": CustomEvent<Status>;
  }
  interface HTMLElementEventMap {
    "shelfcast:before-update": CustomEvent<UpdateDetail & { fresh: Element }>;
    "shelfcast:updated": CustomEvent<UpdateDetail>;
    "shelfcast:status": CustomEvent<Status>;
  }
}
