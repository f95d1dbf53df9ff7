package render

import "github.com/maypok86/otter/v2"

// externalIDs remembers the product of each external ID that was seen in a fragment, so
// that a client that was told of a change and asks by that ID costs no query. It may be
// out of date, which the fragment of the product itself shows.
type externalIDs struct{ ids *otter.Cache[string, int64] }

func newExternalIDs() externalIDs {
	return externalIDs{otter.Must(&otter.Options[string, int64]{MaximumSize: maxProducts})}
}

func (e externalIDs) note(f *Fragment) {
	if f.ExternalID != "" {
		e.ids.Set(f.ExternalID, f.ID)
	}
}

// ProductID returns the product that was last seen with that external ID.
func (c *Cache) ProductID(externalID string) (id int64, ok bool) {
	return c.external.ids.GetIfPresent(externalID)
}
