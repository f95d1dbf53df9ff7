package render_test

import (
	"fmt"
	"io/fs"
	"testing/fstest"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// A shop adds a view of its own to the built-in ones.
func ExampleLoad() {
	own := fstest.MapFS{"views/stock.html": {Data: []byte(
		`<b data-product-id="{{.ID}}" data-product-version="{{.Version}}" data-view="{{.View}}">{{.Title}}: {{.Stock}}</b>`)}}
	templates, err := render.Load(render.Config{Files: []fs.FS{own, web.Templates}})
	if err != nil {
		fmt.Println(err)
		return
	}
	view, ok := templates.ParseView("stock")
	pot := store.Product{Rev: store.Rev{ID: 42, Version: 7}, Title: "Clay pot", Stock: 3, Published: true}
	html, err := templates.Render(view, pot)
	fmt.Println(html, ok, err)
	// Output:
	// <b data-product-id="42" data-product-version="7" data-view="stock">Clay pot: 3</b> true <nil>
}

// A fragment has the same bytes in a page, in a frame and in a CDN.
func ExampleNewFragment() {
	pot := store.Product{Rev: store.Rev{ID: 42, Version: 7}, Published: true}
	f, err := render.NewFragment(render.Card, pot, "<p>Clay pot</p>")
	fmt.Println(f.ID, f.Version, err)
	fmt.Println(string(f.JSON()))
	// Output:
	// 42 7 <nil>
	// {"id":42,"version":7,"view":"card","html":"<p>Clay pot</p>"}
}
