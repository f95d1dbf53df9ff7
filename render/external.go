package render

import "github.com/maypok86/otter/v2"

// An external remembers which product has an external id, as the fragments say
// that are made or found: whoever is told of a change may then ask by that id,
// and the database is not asked once more. It may be out of date, as the
// fragment of the product itself shows.
type external struct{ ids *otter.Cache[string, int64] }

func newExternal() external {
	return external{otter.Must(&otter.Options[string, int64]{MaximumSize: known})}
}

func (e external) note(f *Fragment) {
	if f.ExternalID != "" {
		e.ids.Set(f.ExternalID, f.ID)
	}
}

// External is the product that was last seen with that external id.
func (c *Cache) External(externalID string) (id int64, ok bool) {
	return c.external.ids.GetIfPresent(externalID)
}
