/** "offline": disconnected, and reconnecting by itself. */
export type Status = "connecting" | "live" | "offline";

/** A product in a view, at a version. */
export interface Fragment {
  id: number;
  version: number;
  view: string;
  html: string;
  /** The title of the page, for views of a product's own page. */
  title?: string;
  /** Shoppers may not see the product. html says so. */
  unavailable?: boolean;
  /** The database was rolled back: this version is older than the one shown, and current. */
  reset?: boolean;
}

/** Makes element equal to fresh. Idiomorph.morph is one. */
export type Morph = (element: Element, fresh: Element) => void;

export interface Options {
  /** The server's origin, such as https://live.shop.example. Default: the page's own. */
  endpoint?: string;
  /** "notify": the connection carries versions, and the HTML comes by HTTP, so that a CDN can serve it. Default: "full". */
  mode?: "full" | "notify";
  /** A script on the page's own origin that imports shelfcast-worker.js. With it all tabs share one connection. */
  worker?: string | URL;
  /** Where to look for products. Default: the document. */
  root?: Document | Element;
  /** Highlights changes for a moment, in this color; true: in yellow. Default: false. */
  highlight?: string | boolean;
  /** The share of pages that report which versions they show, for the propagation latency. Default: 0.01. */
  sample?: number;
  /** Updates an element. Default: in place, keeping the visitor's input. */
  morph?: Morph;
  onStatus?: (status: Status) => void;
}

export interface Connection {
  readonly status: Status;
  /** May be replaced at any time. */
  morph: Morph;
  /**
   * Calls back with each fragment that is newer than version, now and after each change.
   * The callback returns false if it does not show the fragment.
   * @returns a function that unsubscribes
   */
  watch(product: { id: number; view: string; version?: number }, callback: (fragment: Fragment) => boolean | void): () => void;
  /** Ends the connection for good. */
  close(): void;
  /** Disconnects until resume, which catches up with the changes. */
  pause(): void;
  resume(): void;
  /** Tell the client that the network may work again: it reconnects, or checks the connection. */
  online(): void;
  /** Tell the client that the network is down: it disconnects, and reconnects later. */
  offline(): void;
}

/** Keeps the products of a page up to date. */
export function connect(options?: Options): Connection;

/** The connection of the script's own tag, if the tag has data-endpoint. */
export const live: Connection | undefined;

/** The detail of shelfcast:before-update and shelfcast:updated. */
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
