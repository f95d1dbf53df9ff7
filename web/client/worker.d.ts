// Import it in a script on the page's own origin, and pass that script to connect as
// worker: all tabs of a browser then share one connection.
export {};
