package render

import (
	"fmt"
	"regexp"
	"strings"

	"shelfcast/store"
)

// A View names a fragment template and, after a dot, the language if that is not the
// shop's default: card, detail.de-AT. To add one, add web/templates/views/NAME.html.
type View string

// The views that the shop's own pages show.
const (
	Card   View = "card"   // one of many, in a list
	Detail View = "detail" // the product's own page
)

// ErrNoView means that there is no such view, or no longer.
var ErrNoView = fmt.Errorf("there is no such view: %w", store.ErrNotFound)

// ParseView returns the view of that name, if it is one that every shop has. See
// Templates.ParseView for the others.
func ParseView(name string) (View, bool) {
	switch name { // a constant, because name may alias a buffer of the caller
	case string(Card):
		return Card, true
	case string(Detail):
		return Detail, true
	}
	return "", false
}

// viewName matches the names that a view may have. They are in keys, URLs and attributes.
var viewName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// isDetail reports whether v is the view Detail, in any language.
func (v View) isDetail() bool {
	name, _, _ := strings.Cut(string(v), ".")
	return name == string(Detail)
}
