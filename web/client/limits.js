// How much, and how long.

/** A session watches no more than this. */
export const MAX_PRODUCTS = 500;
/** The tier is told of no more at once: a frame has at most 16 KiB, and a view some 40 letters. */
export const MAX_WATCH = 100;
/** The tier answers no more fragments at once. */
export const MAX_FRAGMENTS = 100;
/** Who listens is not to be read more at once. */
export const MAX_NEWS = 5;

// All in milliseconds.

/** The back-off's first cap, and its last. */
export const FIRST_PAUSE = 500;
export const LONGEST_PAUSE = 30_000;
/** A connection that has been silent for as long, or up to twice as long, is asked whether it lives. */
export const SILENCE = 30_000;
/** A connection that has not answered by then does not: a laptop has slept, or a network has gone, and nothing says so. */
export const PATIENCE = 5_000;
/** A connection that lasts less was none: a server that accepts and closes is not to be hurried. */
export const STEADY = 5_000;
/** What has not opened by then does not. */
export const OPENING = 10_000;
/** An answer that has not come by then does not. */
export const ANSWER = 30_000;
/** A stream says something at once. If it does not, something holds it back. */
export const HELD = 5_000;
/** Polling asks so often, give or take half. */
export const POLL = 5_000;
/** What comes to be watched within this needs one stream, or question. */
export const GATHER = 100;
/** The next page of the visit may come so soon that it can have the connection of the last. */
export const LINGER = 5_000;
/** What comes to be on the page, or on the screen, within this is one look. */
export const LOOK = 50;
/** What leaves the screen and is back within this has not left. */
export const OFF_SCREEN = 10_000;
/** What changes within this is said together. */
export const TOGETHER = 1_000;
/** A page that nobody has looked at for so long does not need to know. */
export const AWAY = 300_000;
/** A change glows for so long. */
export const GLOW = 1_500;
