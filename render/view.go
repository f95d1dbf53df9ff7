package render

import (
	"fmt"
	"regexp"
	"strings"

	"shelfcast/store"
)

// A View is one of the forms in which a page shows a product: the name of a
// fragment template, and behind a dot the language, if that is not the shop's
// first. Who is not to know of templates takes it as a name.
type View string

// The views that there always are. Each other is a template of the shop owner's.
const (
	Card   View = "card"   // one of many, in a list
	Detail View = "detail" // the product's own page
)

// ErrNoView: there is no such view, or there is no more.
var ErrNoView = fmt.Errorf("there is no such view: %w", store.ErrNotFound)

// ParseView is the View of that name, of those that there always are; false if
// it is none of them. See Templates.ParseView for all.
func ParseView(name string) (View, bool) {
	switch name { // the answer is ours: the name may be on loan
	case string(Card):
		return Card, true
	case string(Detail):
		return Detail, true
	}
	return "", false
}

// viewName is what a view may be called. It is in keys, URLs and attributes.
var viewName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// template is the name of the template that makes the view.
func (v View) template() string {
	name, _, _ := strings.Cut(string(v), ".")
	return name
}
