package api

import (
	"slices"

	"shelfcast/store"
)

// A Caller is who makes a call of the admin API.
type Caller struct {
	Name   string   // as histories show it
	Key    string   // stable, for rate limits and idempotency, and of no more than 276 bytes; case matters
	Scopes []string // what it may do
}

// Has reports whether the caller may do what scope allows; nobody may do what "" would allow.
func (c Caller) Has(scope string) bool {
	return scope != "" && (slices.Contains(c.Scopes, scope) ||
		scope == store.ReadProducts && slices.Contains(c.Scopes, store.WriteProducts))
}
