// Import it in a script on the page's own origin, and name that script as the
// worker of connect: all tabs of a browser then share one connection.
export {};
