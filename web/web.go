// Package web has what reaches the browser: templates, styles, scripts and the
// client. Go is here only to embed them, and to join the client's modules.
package web

import (
	"embed"
	"io/fs"
)

//go:embed templates assets client/*.js
var files embed.FS

// Templates are the HTML templates: views/card.html and views/detail.html,
// layout.html, the pages, and in locales/ what they say in each language.
var Templates = sub("templates")

// Assets are the files that pages link to, the client among them.
var Assets fs.FS = bundled{}

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is not a path; known when this compiles
	}
	return f
}
