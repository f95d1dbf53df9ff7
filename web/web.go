// Package web embeds what reaches the browser: templates, styles, scripts and the
// client, which `go generate` bundles from the modules in client/ into dist/.
package web

import (
	"embed"
	"io/fs"
)

//go:generate go run -C build . client ../dist

//go:embed templates assets dist
var files embed.FS

// Templates are the built-in HTML templates: the views card, detail and odoo, layout.html
// and the pages, and in locales/ their messages in each language.
var Templates = sub("templates")

// Assets are the files that pages link to: the bundled client, and the scripts,
// styles and pictures of the built-in pages. No file name is in both.
var Assets = []fs.FS{sub("dist"), sub("assets")}

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is not a path; known when this compiles
	}
	return f
}
