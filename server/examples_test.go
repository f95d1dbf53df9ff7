package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
)

// The examples in web/examples work on a site of another origin: they show each new
// version of the products, and keep the state of the visitor.
func TestClientExamples(t *testing.T) {
	t.Parallel()
	f := embedding(t)
	lamp, mug := f.product(t, "lamp"), f.product(t, "mug")
	source, err := os.ReadFile("../web/examples/react/main.jsx")
	if err != nil {
		t.Fatal(err)
	}
	react := script(t, string(source))
	files := http.FileServer(http.Dir("../web"))
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
					product := fmt.Sprintf(`document.querySelector('[data-testid="product-%d"]`, mug.ID)
					until(t, page, product+fmt.Sprintf(` output').innerText === "%d"`, mug.Version))
					if text := eval[string](t, page, product+` button').innerText`); text != "2 in the cart" {
						t.Errorf("after the update it says %q", text)
					}
				}
				closeTab(t, page)
			})
		}
	}
}
