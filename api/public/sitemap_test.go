package public

import (
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"shelfcast/api/httpx"
	"shelfcast/testkit"
)

// The sitemap has each page of each product that shoppers may see, in files within the size limit.
func TestSitemap(t *testing.T) {
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, nil)
	made := f.stock(3)
	f.edit(made[1], `{"published":false}`)
	type loc struct {
		Loc     string `xml:"loc"`
		Lastmod string `xml:"lastmod"`
		Links   []struct {
			Lang string `xml:"hreflang,attr"`
			Href string `xml:"href,attr"`
		} `xml:"http://www.w3.org/1999/xhtml link"`
	}
	robots := string(f.ask("GET", "/robots.txt").Body())
	_, at, ok := strings.Cut(robots, "Sitemap: https://shop.example")
	if !ok {
		t.Fatal(robots)
	}
	var index struct {
		XMLName xml.Name `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 sitemapindex"`
		Files   []loc    `xml:"sitemap"`
	}
	if err := xml.Unmarshal(f.ask("GET", strings.TrimSpace(at)).Body(), &index); err != nil || len(index.Files) != 1 {
		t.Fatalf("%v: %+v", err, index)
	}
	path := strings.TrimPrefix(index.Files[0].Loc, "https://shop.example")
	for _, encoding := range []string{"", "gzip"} {
		r := f.ask("GET", path, "Accept-Encoding", encoding)
		body := r.Body()
		if string(r.Header.Peek("Content-Encoding")) != encoding || string(r.Header.Peek("Vary")) != "Accept-Encoding" {
			t.Errorf("%q: %s", encoding, r.Header.String())
		}
		if encoding == "gzip" {
			unpacked, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(unpacked); err != nil {
				t.Fatal(err)
			}
		}
		var urls struct {
			XMLName xml.Name `xml:"http://www.sitemaps.org/schemas/sitemap/0.9 urlset"`
			URLs    []loc    `xml:"url"`
		}
		if err := xml.Unmarshal(body, &urls); err != nil || len(urls.URLs) != 4 {
			t.Fatalf("%v: %s", err, body)
		}
		last := urls.URLs[3]
		if last.Loc != fmt.Sprintf("https://shop.example/de/shop/products/%d", made[2].ID) ||
			len(last.Links) != 2 || last.Links[0].Href != urls.URLs[2].Loc {
			t.Errorf("%+v", last)
		}
		if when, err := time.Parse(time.RFC3339, last.Lastmod); err != nil || when.Unix() != made[2].Version/1e6 {
			t.Errorf("%v: changed %v", err, last.Lastmod)
		}
	}
	for _, none := range []string{"/sitemaps/products-0.xml", "/sitemaps/products-2.xml",
		"/sitemaps/products-x.xml", "/sitemaps/products--1.xml"} {
		if r := f.ask("GET", none); r.StatusCode() != 404 {
			t.Errorf("%s: %d", none, r.StatusCode())
		}
	}
}

// Without a public URL nothing names a host: the visitor's Host may be forged, even if a trusted proxy passes it on,
// and answers are cached and shared. Visitors are redirected to their language.
func TestPagesNameNoHostWithoutPublicURL(t *testing.T) {
	f := newTestShop(t, testkit.DSN(t), []string{"en", "de"}, func(p *App) {
		p.PublicURL, p.TrustedProxies = "", []httpx.Network{netip.MustParsePrefix("0.0.0.0/0")}
	})
	p := f.stock(1)[0]
	product := fmt.Sprint("/shop/products/", p.ID)
	for path, names := range map[string]string{
		"/shop": `<link rel="canonical" href="/shop">`, "/de/shop": `href="/shop" lang="en"`,
		product:       `<link rel="canonical" href="` + product + `">`,
		"/robots.txt": "Disallow: /live", "/sitemap.xml": "--public-url", "/sitemaps/products-1.xml": "--public-url", "/": "",
	} {
		r := f.ask("GET", path, "X-Forwarded-Host", "evil.example",
			"X-Forwarded-Proto", "https", "Forwarded", "host=evil.example")
		said := r.Header.String() + string(r.Body())
		if strings.Contains(said, "evil.example") ||
			strings.Contains(strings.ReplaceAll(said, "Location: http://visited.example/", ""), "visited.example") ||
			strings.Contains(said, "Sitemap:") || strings.Contains(said, "og:url") ||
			strings.Contains(said, `rel="alternate"`) || !strings.Contains(said, names) {
			t.Errorf("%s: %s", path, said)
		}
	}
	for _, c := range [][2]string{{"", "/shop"}, {"de-CH, en;q=0.5", "/de/shop"},
		{"fr, en", "/shop"}, {"fr", "/shop"}, {"garbage;;q", "/shop"}} {
		r := f.ask("GET", "/", "Accept-Language", c[0])
		location := string(r.Header.Peek("Location"))
		if r.StatusCode() != 302 || location != c[1] && !strings.HasSuffix(location, "example"+c[1]) ||
			string(r.Header.Peek("Vary")) != "Accept-Language" {
			t.Errorf("%q: %d %s", c[0], r.StatusCode(), r.Header.String())
		}
	}
	if _, err := ParseOrigin("https://Shop.example/"); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"shop.example", "ftp://shop.example",
		"https://shop.example/x", "https://u@shop.example", "https://shop.example?x", ""} {
		if got, err := ParseOrigin(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, got)
		}
	}
}
