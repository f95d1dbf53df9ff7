package auth

import (
	"slices"

	"shelfcast/store"
)

// A Caller is the authenticated caller of the admin API.
type Caller struct {
	Name   string   // shown in the history; not unique
	Key    string   // stable and unique, at most 276 bytes; case matters
	Scopes []string // the operations that are allowed
}

// Has reports whether the caller has the scope. A writer may also read. No caller has the scope "".
func (c Caller) Has(scope string) bool {
	return scope != "" && (slices.Contains(c.Scopes, scope) ||
		scope == store.ReadProducts && slices.Contains(c.Scopes, store.WriteProducts))
}
