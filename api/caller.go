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

// Has says whether the caller may do that.
func (c Caller) Has(scope string) bool {
	return slices.Contains(c.Scopes, scope) || scope == store.ReadProducts && slices.Contains(c.Scopes, store.WriteProducts)
}
