// Limits and durations.

/** Subscriptions in a session. */
export const MAX_PRODUCTS = 500;
/** Subscriptions in a frame. The server accepts 16 KiB, and the name of a view has up to 40 characters. */
export const MAX_WATCH = 100;
/** Fragments in a response. */
export const MAX_FRAGMENTS = 100;
/** Changes that are announced to a screen reader at once. */
export const MAX_ANNOUNCEMENTS = 5;

// All durations are in milliseconds.

/** The upper bound of the first back-off, and of the last. */
export const MIN_BACKOFF = 500;
export const MAX_BACKOFF = 30_000;
/** An idle connection is pinged after this, or up to twice as long. */
export const PING_AFTER = 30_000;
/** A ping must be answered within this: a laptop that slept, or a network that went away, reports nothing. */
export const PONG_TIMEOUT = 5_000;
/** A connection that ends sooner counts as failed, so that a server which accepts and closes is not hammered. */
export const STABLE_AFTER = 5_000;
export const OPEN_TIMEOUT = 10_000;
export const RESPONSE_TIMEOUT = 30_000;
/** A stream sends its first event at once. If it does not come, a proxy buffers the stream. */
export const FIRST_EVENT_TIMEOUT = 5_000;
/** The mean interval between polls; each one varies by half. */
export const POLL_INTERVAL = 5_000;
/** New subscriptions within this share one new stream, or one poll. */
export const RESTART_DELAY = 100;
/** A shared connection stays open this long without pages, for the next page of the visit. */
export const IDLE_TIMEOUT = 5_000;
/** Changes to the page, or to what is on the screen, within this are handled by one scan. */
export const SCAN_DELAY = 50;
/** A product stays subscribed this long after it has left the screen. */
export const OFF_SCREEN_DELAY = 10_000;
/** Changes within this are announced to a screen reader together. */
export const ANNOUNCE_DELAY = 1_000;
/** A page that has been hidden this long disconnects. */
export const HIDDEN_TIMEOUT = 300_000;
/** How long a change is highlighted. */
export const HIGHLIGHT_DURATION = 1_500;
