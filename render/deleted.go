package render

import "shelfcast/store"

// unavailable returns what stands for a product whose row was deleted.
func unavailable(id, version int64) store.Product {
	return store.Product{Rev: store.Rev{ID: id, Version: version}, Archived: true}
}

// deleted returns what stands for a product that the database does not have, and reports
// whether the database had it. before is the newest version known when it was asked.
func (v *Versions) deleted(id, before int64) (p store.Product, ok bool) {
	v.recordMissing(id, before)
	n, _ := v.newest.GetIfPresent(id)
	return unavailable(id, n.version), n.deleted // else it may still arrive, or was observed anew during the read
}

// Unavailable returns the fragment that replaces that version of a product that does not
// exist any more.
func (c *Cache) Unavailable(view View, shown store.Rev) (*Fragment, error) {
	p := unavailable(shown.ID, shown.Version+1)
	html, err := c.templates.now.Load().render(view, p)
	if err != nil {
		return nil, err
	}
	return NewFragment(view, p, html)
}
