package store_test

import (
	"fmt"
	"strings"
	"testing"

	"shelfcast/store"
)

// What shops write stays as it is; of the rest it is said what was removed.
func TestCleanHTMLKeepsCommonMarkup(t *testing.T) {
	const youtube = `<iframe width="560" height="315" src="https://www.youtube.com/embed/dQw4w9WgXcQ?si=a_b-c" ` +
		`title="A &#34;film&#34;" frameborder="0" allow="accelerometer; autoplay; web-share" ` +
		`referrerpolicy="strict-origin-when-cross-origin" allowfullscreen=""></iframe>`
	const vimeo = `<iframe src="https://player.vimeo.com/video/76979871"></iframe>`
	const video = `<video controls="" poster="/a.jpg"><source src="https://x.example/a.mp4" type="video/mp4"/></video>`
	const img = `<img src="//cdn.example/a.jpg" alt="Mug &amp; spoon: 2 × 30 %" ` +
		`srcset="/a_1.jpg 1x, https://cdn.example/a,w_2.jpg 2x" sizes="(max-width: 40em) 100vw, 50vw" ` +
		`width="40" height="30" loading="lazy"/>`
	for _, test := range []struct{ in, want, removed string }{
		{"Soft & warm", "Soft &amp; warm", ""},
		{`<p>x</p>`, `<p>x</p>`, ""},
		{`<p class="md:w-1/2 note" style="text-align: center">x</p>`,
			`<p class="md:w-1/2 note" style="text-align: center">x</p>`, ""},
		{`<ol start="3"><li>x</li></ol>`, `<ol start="3"><li>x</li></ol>`, ""},
		{`<table><tbody><tr><th scope="row">a</th><td colspan="2" rowspan="3">b</td></tr></tbody></table>`,
			`<table><tbody><tr><th scope="row">a</th><td colspan="2" rowspan="3">b</td></tr></tbody></table>`, ""},
		{`<table><tr><td>b</td></tr></table>`, `<table><tbody><tr><td>b</td></tr></tbody></table>`, ""},
		{img, img, ""},
		{`<a href="/care">a</a><a href="#b">b</a><a href="https://x.example/">c</a>`,
			`<a href="/care">a</a><a href="#b">b</a><a href="https://x.example/" rel="nofollow">c</a>`, ""},
		{youtube, "", "<iframe>"},
		{video, "", "<source>, <video>"},
		{`Soft.</div></div></section><p>Wash at 30</p>`, `Soft.<p>Wash at 30</p>`, ""},
		{`<ul><li><div><li>x</li></div></li></ul>`, `<ul><li><div></div></li><li>x</li></ul>`, ""},
		{`<p onclick="a()">x<script>b</script><script>c</script></p>`, `<p>x</p>`, "<script> (2), <p onclick>"},
		{`<p style="color:red;text-align:left;margin:0">x</p><p style="color:red">y</p>`,
			`<p style="text-align: left">x</p><p>y</p>`, `<p style="color"> (2), <p style="margin">`},
		{`<img src="javascript:x" alt="a">`, `<img alt="a"/>`, "<img src>"},
		{`<img src="/a" srcset="/b 1x, javascript:x 2x">`, `<img src="/a"/>`, "<img srcset>"},
		{strings.Repeat("<script></script>", 2) + "<form><q1><q2><q3><q4><q5><q6><q7><q8><q9><qa><qb><qc><qd>",
			"", "<script> (2), <form>, <q1>, <q2>, <q3>, <q4>, <q5>, <q6>, <q7>, <q8>, <q9>, <qa>, 3 more"},
	} {
		clean, removed := store.CleanHTML(test.in, false)
		if clean != test.want || removed != test.removed {
			t.Errorf("%s\nbecame %s\nwithout %s", test.in, clean, removed)
		}
	}
	for _, test := range []struct{ in, want, removed string }{
		{youtube, youtube, ""}, {vimeo, vimeo, ""}, {video, video, ""},
		{`<iframe src="https://www.youtube.com.evil.example/embed/x"></iframe>`, "", "<iframe>"},
		{`<iframe src="https://www.youtube.com/redirect?q=x" width="3"></iframe>`, "", "<iframe>"},
		{`<iframe srcdoc="&lt;script>x&lt;/script>"></iframe>`, "", "<iframe>"},
		{`<video src="javascript:x" controls></video>`, `<video controls=""></video>`, "<video src>"},
	} {
		clean, removed := store.CleanHTML(test.in, true)
		if clean != test.want || removed != test.removed {
			t.Errorf("with videos, %s\nbecame %s\nwithout %s", test.in, clean, removed)
		}
	}
}

// A parser opens formatting that was left open again in every block: a short text
// must not become a huge one.
func TestSanitizeHTMLLimitsOutputSize(t *testing.T) {
	var classes strings.Builder
	for i := range 500 {
		fmt.Fprintf(&classes, "<b class=x%d>", i)
	}
	for name, text := range map[string]string{
		"formatting left open": "<p>" + classes.String() + strings.Repeat("<p>x", 2000),
		"in a list":            "<ul><li>" + classes.String() + strings.Repeat("<li>x", 2000),
		"closed in a cell":     strings.Repeat("<b class=x><table><td></b></td></table>", 400) + strings.Repeat("<p>x", 2000),
		"in a table":           "<table>" + classes.String() + strings.Repeat("<tr>x", 2000),
		"deep":                 strings.Repeat("<div>", 2000),
		"many ends":            strings.Repeat("</p>", 2000),
	} {
		clean, removed := store.CleanHTML(text, true)
		if len(clean) > 20*len(text) {
			t.Errorf("%s: %d bytes became %d", name, len(text), len(clean))
		}
		if len(removed) > 1000 {
			t.Errorf("%s: it takes %d bytes to say what was removed", name, len(removed))
		}
	}
}

func BenchmarkSanitizeHTML(b *testing.B) {
	text := strings.Repeat(`<p class="a">Hand-made of <b>oak</b>, with a <a href="/care">finish</a> that lasts.</p>`+
		`<ul><li>One</li><li>Two</li></ul>`, 20)
	clean := store.SanitizeHTML(text, false)
	b.SetBytes(int64(len(clean)))
	for b.Loop() {
		store.SanitizeHTML(clean, false)
	}
}
