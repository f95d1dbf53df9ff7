package serve_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/evanw/esbuild/pkg/api"
)

// The examples, as they are in web/examples, work on a site of another origin: they
// show the products, at each new version, and what the visitor has done in them
// stays.
func TestTheExamples(t *testing.T) {
	t.Parallel()
	f := embedding(t)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	source, err := os.ReadFile("../../../web/examples/react/main.jsx")
	if err != nil {
		t.Fatal(err)
	}
	react := script(t, string(source), api.LoaderJSX)
	files := http.FileServer(http.Dir("../../../web"))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/examples/react/main.js" {
			w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
			fmt.Fprint(w, react)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	chromium := browser(t)
	query := fmt.Sprintf("?endpoint=%s&products=%d,%d", f.public(0, ""), lamp.ID, mug.ID)
	for n, example := range []string{"plain", "react", "vue"} {
		for m, mode := range []string{"", "&mode=notify"} {
			t.Run(example+mode, func(t *testing.T) {
				page := open(t, chromium, site.URL+"/examples/"+example+"/"+query+mode)
				shows(t, page, lamp.Rev)
				shows(t, page, mug.Rev)
				if example != "plain" {
					run(t, page, chromedp.Click(css(fmt.Sprintf(`[data-testid="product-%d"] button`, mug.ID))))
					until(t, page, `document.body.innerText.includes("2 in the cart")`)
				}
				lamp = f.edit(t, m, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, 30+2*n+m))
				mug = f.edit(t, 1-m, mug.Rev, fmt.Sprintf(`{"stock":%d}`, 30+2*n+m))
				shows(t, page, lamp.Rev)
				shows(t, page, mug.Rev)
				if example != "plain" {
					until(t, page, fmt.Sprintf(`document.querySelector('[data-testid="product-%d"] output').innerText === "%d"`, mug.ID, mug.Version))
					if text := eval[string](t, page, fmt.Sprintf(`document.querySelector('[data-testid="product-%d"] button').innerText`, mug.ID)); text != "2 in the cart" {
						t.Errorf("after the update it says %q", text)
					}
				}
				closeTab(t, page)
			})
		}
	}
}
