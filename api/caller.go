package api

import (
	"slices"

	"shelfcast/store"
)

// A Caller is who makes a call of the admin API.
type Caller struct {
	Name   string   // as histories show it; others may have it too
	Key    string   // stable, and nobody else's, of no more than 276 bytes; case matters
	Scopes []string // what it may do
}

// Has reports whether the caller may do what scope allows; nobody may do what "" would allow.
func (c Caller) Has(scope string) bool {
	return scope != "" && (slices.Contains(c.Scopes, scope) ||
		scope == store.ReadProducts && slices.Contains(c.Scopes, store.WriteProducts))
}
