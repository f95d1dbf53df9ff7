// Package render turns products into the HTML fragments that pages show, and caches them.
//
// Templates renders: it is pure, and reads its files once. Cache returns a Fragment, which
// is one version of one product in one View, from memory, from Redis, or by loading the
// product from the database and rendering it, once for the whole fleet. Versions knows
// which version of each product is current. The package knows nothing of HTTP or of
// sessions.
package render
