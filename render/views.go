package render

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ParseView is the View of that name; false if there is none. The View is ours:
// the name may be on loan.
func (t *Templates) ParseView(name string) (View, bool) {
	at := slices.IndexFunc(t.views, func(v View) bool { return string(v) == name })
	if at < 0 {
		return "", false
	}
	return t.views[at], true
}

// listViews has the views that there always are, and each file views/NAME.html.
func (t *Templates) listViews() ([]View, error) {
	views := []View{Card, Detail}
	for _, files := range t.cfg.Files {
		entries, err := fs.ReadDir(files, "views")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, entry := range entries {
			view := View(strings.TrimSuffix(entry.Name(), ".html"))
			if path.Ext(entry.Name()) == ".html" && !slices.Contains(views, view) {
				views = append(views, view)
			}
		}
	}
	slices.Sort(views)
	return views, nil
}

// file is where the template of a view is.
func (v View) file() string {
	if v == Card || v == Detail {
		return string(v) + ".html"
	}
	return "views/" + string(v) + ".html"
}
