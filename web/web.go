// Package web has what reaches the browser: templates, scripts and styles. Go
// is here only to embed them.
package web

import (
	"embed"
	"io/fs"
)

//go:embed templates assets
var files embed.FS

// Templates are the HTML templates: card.html, detail.html, views, layout.html and the
// pages.
var Templates = sub("templates")

// Assets are the files that pages link to.
var Assets = sub("assets")

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is not a path; known when this compiles
	}
	return f
}
