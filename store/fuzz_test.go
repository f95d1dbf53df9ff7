package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"shelfcast/store"
)

// FuzzPrice: what is taken for a price is written as it was read, and no input
// takes long or much memory.
func FuzzPrice(f *testing.F) {
	for _, seed := range []string{"19.90", "-1", "0", "1e999999999", "1E-999999999",
		"+5", "1_000", " 1", "NaN", ".5", "5.", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := store.ParsePrice(text)
		if err != nil {
			return
		}
		again, err := store.ParsePrice(p.String())
		if err != nil || !again.Equal(p.Decimal) || again.String() != p.String() {
			t.Errorf("%q became %q, and then %q: %v", text, p, again, err)
		}
		encoded, err := json.Marshal(p)
		var back store.Price
		if err != nil || json.Unmarshal(encoded, &back) != nil || !back.Equal(p.Decimal) {
			t.Errorf("%q is %s as JSON, and back %v", text, encoded, back)
		}
	})
}

// FuzzEdit: an edit from JSON is refused, or has what its JSON has.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{`{"price":"1.50","stock":3}`, `{"compare_at_price":null}`,
		`{"price":"1e99999999"}`, `{"title":"<b>"}`, `{"price":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e, again store.Edit
		if json.Unmarshal(text, &e) != nil {
			return
		}
		encoded, err := json.Marshal(e)
		if err != nil || json.Unmarshal(encoded, &again) != nil {
			t.Fatalf("%s: %v: %s", text, err, encoded)
		}
		if second, _ := json.Marshal(again); string(second) != string(encoded) {
			t.Errorf("%s became %s and then %s", text, encoded, second)
		}
	})
}

// FuzzSanitizeHTML: what came out clean stays as it is, and stays where it is put.
func FuzzSanitizeHTML(f *testing.F) {
	for _, seed := range []string{
		`<p onclick="x()">a<script>b</script></p>`, `<a href="javascript:x()">`,
		`<svg/onload=x()>`, `<<script>script>x`, "<p\x00>",
		`Soft.</div></div></section><p>Wash at 30</p>`,
		`<ul><li><div><li>x</li></div></li></ul>`, `<table><tr><td><b>x</td></b></table>y`,
		`<b><p>x</b>y<a href=/a><table><a href=/b>`,
		`<iframe src="https://www.youtube.com/embed/x"><p></iframe>`, `<iframe srcdoc="<p>">`,
		`<video src="/a.mp4" controls><source src="javascript:x"></video>`,
		`<p style="text-align:center;color:red">x`, "<pre>\n\nx", `<img srcset="/a 1x, javascript:x 2x">`,
		strings.Repeat("<b><i>", 300) + strings.Repeat("<p>x", 300), strings.Repeat("<div>", 600) + "x",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	for n := range uint64(soups) {
		f.Add(tagSoup(rand.New(rand.NewPCG(n, 0))), n%2 == 0)
	}
	f.Fuzz(func(t *testing.T, text string, videos bool) {
		clean, _ := store.CleanHTML(text, videos)
		lower := strings.ToLower(clean)
		for _, tag := range []string{"<script", "<svg", "<form", "<style", "<object"} {
			if strings.Contains(lower, tag) {
				t.Errorf("%q became %q", text, clean)
			}
		}
		if strings.Contains(lower, "<iframe") && !videos {
			t.Errorf("%q became %q", text, clean)
		}
		if again, removed := store.CleanHTML(clean, videos); again != clean || removed != "" {
			t.Errorf("%q became %q, and then %q without %s", text, clean, again, removed)
		}
		if len(clean) > 200*(len(text)+1) {
			t.Errorf("%d bytes became %d", len(text), len(clean))
		}
		if wrong := outOfPlace(clean); wrong != "" {
			t.Errorf("%q became %q, %s", text, clean, wrong)
		}
	})
}

// soups is how many tag soups each run tries.
const soups = 200

// tagSoup is tags in no order: most have an end somewhere, or a beginning.
func tagSoup(r *rand.Rand) string {
	tags := strings.Fields("div p ul ol li dl dt dd table tbody tr td th caption colgroup b i a h1 h2 section " +
		"details summary blockquote pre br img iframe video source ruby rt span")
	var soup strings.Builder
	for range 2 + r.IntN(20) {
		tag := tags[r.IntN(len(tags))]
		switch r.IntN(5) {
		case 0, 1:
			fmt.Fprintf(&soup, `<%s class="%d" src="//www.youtube.com/embed/x" href=/a>`, tag, r.IntN(3))
		case 2, 3:
			fmt.Fprintf(&soup, `</%s>`, tag)
		default:
			soup.WriteString("x")
		}
	}
	return soup.String()
}

// outOfPlace says what a browser makes of HTML in its place on a page, if it is
// anything else than that the place has it all.
func outOfPlace(clean string) string {
	page, err := html.Parse(strings.NewReader(`<!DOCTYPE html><body><section><div>` +
		clean + `<hr></div><i>after</i></section><u>end</u>`))
	if err != nil {
		return err.Error()
	}
	var body *html.Node
	for n := range page.Descendants() {
		if n.DataAtom == atom.Body {
			body = n
			break
		}
	}
	names := func(parent *html.Node) (names string) {
		for n := range parent.ChildNodes() {
			names += n.Data + " "
		}
		return names
	}
	if got := names(body); got != "section u " {
		return "and the body has " + got
	}
	if got := names(body.FirstChild); got != "div i " {
		return "and the section has " + got
	}
	if last := body.FirstChild.FirstChild.LastChild; last.DataAtom != atom.Hr {
		return "and what follows it is not beside it"
	}
	return ""
}
