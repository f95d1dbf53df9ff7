package store

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// Bounds of a description's HTML, so that a short text cannot become a huge tree:
// an HTML parser opens formatting that was left open again in each block.
const (
	maxDepth      = 100 // elements within each other; deeper tags are removed
	maxFormatting = 8   // of them such as <b>
	maxNames      = 12  // in CleanHTML's report of what was removed, each of up to maxName bytes
	maxName       = 40
)

// plainPolicy and videoPolicy allow the HTML of product descriptions and nothing that
// runs. They are safe for concurrent use once made.
var (
	plainPolicy = newPolicy(false)
	videoPolicy = newPolicy(true)
	textOnly    = bluemonday.StrictPolicy()
)

// FrameSources are the origins from which a description may have frames.
var FrameSources = []string{"https://www.youtube.com", "https://www.youtube-nocookie.com", "https://player.vimeo.com"}

func newPolicy(videos bool) *bluemonday.Policy {
	var (
		link     = `(?:https?:)?//[^\s]+|[^\s:]+` // without a scheme, or with a web page's
		picture  = `(?:` + link + `)(?:\s+[0-9.]+[wx])?`
		pictures = regexp.MustCompile(`(?i)^\s*` + picture + `(?:\s*,\s+` + picture + `)*\s*,?\s*$`)
		media    = regexp.MustCompile(`(?i)^(?:https://|/)[^\s]+$`)
		frame    = regexp.MustCompile(`^(?:https:)?//(?:www\.youtube(?:-nocookie)?\.com/embed|player\.vimeo\.com/video)` +
			`/[\w-]+(?:[?#][\w=&;:.,%?#-]*)?$`)
		flag = regexp.MustCompile(`(?i)^(?:|true|[a-z]+)$`) // a browser ignores the value
	)
	p := bluemonday.UGCPolicy()
	p.RequireNoFollowOnLinks(false)
	p.RequireNoFollowOnFullyQualifiedLinks(true)
	p.AllowAttrs("class", "title").Globally() // any text: it is escaped
	p.AllowStyles("text-align").MatchingEnum("left", "right", "center", "justify", "start", "end").Globally()
	p.AllowAttrs("alt", "sizes").OnElements("img")
	p.AllowAttrs("srcset").Matching(pictures).OnElements("img")
	p.AllowAttrs("loading").Matching(regexp.MustCompile(`^(?:lazy|eager)$`)).OnElements("img")
	p.AllowAttrs("decoding").Matching(regexp.MustCompile(`^(?:async|sync|auto)$`)).OnElements("img")
	p.AllowAttrs("start").Matching(bluemonday.Integer).OnElements("ol")
	p.AllowAttrs("reversed").Matching(flag).OnElements("ol")
	if !videos {
		return p
	}
	p.AllowAttrs("src", "poster").Matching(media).OnElements("video")
	p.AllowAttrs("src").Matching(media).OnElements("source")
	p.AllowAttrs("type").Matching(regexp.MustCompile(`^video/[\w.+-]+(?:;\s*codecs="?[\w., ]+"?)?$`)).OnElements("source")
	p.AllowAttrs("controls", "loop", "muted", "playsinline").Matching(flag).OnElements("video")
	p.AllowAttrs("preload").Matching(regexp.MustCompile(`^(?:none|metadata|auto|)$`)).OnElements("video")
	p.AllowAttrs("width", "height").Matching(bluemonday.NumberOrPercent).OnElements("video", "iframe")
	p.AllowAttrs("src").Matching(frame).OnElements("iframe")
	p.AllowAttrs("allow").Matching(regexp.MustCompile(`^[\w\s;-]*$`)).OnElements("iframe")
	p.AllowAttrs("allowfullscreen").Matching(flag).OnElements("iframe")
	p.AllowAttrs("loading").Matching(regexp.MustCompile(`^(?:lazy|eager)$`)).OnElements("iframe")
	p.AllowAttrs("frameborder").Matching(bluemonday.Integer).OnElements("iframe")
	p.AllowAttrs("referrerpolicy").Matching(regexp.MustCompile(`^[a-z-]+$`)).OnElements("iframe")
	return p
}

// CleanHTML returns a description without whatever could run in a page, phone home
// or end the element that it is put into, and a description of what was removed: "" if
// nothing was. Clean HTML is returned unchanged. videos allows videos, and frames of
// FrameSources.
func CleanHTML(s string, videos bool) (clean, removed string) {
	clean = SanitizeHTML(s, videos)
	if clean != s {
		removed = missing(s, clean)
	}
	return clean, removed
}

// RemovedHTML describes what is removed from the description of e, "" if nothing is.
func (db *DB) RemovedHTML(e Edit) string {
	if e.Description == nil {
		return ""
	}
	_, removed := CleanHTML(*e.Description, db.cfg.Videos)
	return removed
}

// SanitizeHTML is CleanHTML without the report of removed HTML.
func SanitizeHTML(s string, videos bool) string {
	policy := plainPolicy
	if videos {
		policy = videoPolicy
	}
	for range 4 { // repaired HTML is rarely parsed differently once more
		next, err := rewrite(nest(policy.Sanitize(s)))
		switch {
		case err != nil:
			return textOnly.Sanitize(s)
		case next == s:
			return s
		}
		s = next
	}
	return textOnly.Sanitize(s)
}

// rewrite writes s again as a browser understands it within a div.
func rewrite(s string) (string, error) {
	within := &html.Node{Type: html.ElementNode, Data: "div", DataAtom: atom.Div}
	nodes, err := html.ParseFragment(strings.NewReader(s), within)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, n := range nodes {
		within.AppendChild(n)
	}
	dropEmptyFrames(within)
	for n := range within.ChildNodes() {
		if err := html.Render(&out, n); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// dropEmptyFrames removes the frames whose address was not allowed, and the content of
// the others: a browser does not read it as HTML.
func dropEmptyFrames(root *html.Node) {
	for _, n := range slices.Collect(root.Descendants()) {
		if n.DataAtom != atom.Iframe {
			continue
		}
		for n.FirstChild != nil {
			n.RemoveChild(n.FirstChild)
		}
		if !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "src" }) {
			n.Parent.RemoveChild(n)
		}
	}
}

// Void elements, formatting elements, which an HTML parser opens again where they were
// left open, and elements whose content is parsed by other rules.
var (
	void       = setOf("area", "br", "col", "hr", "img", "source", "wbr")
	formatting = setOf("a", "b", "code", "em", "i", "s", "small", "strike", "strong", "tt", "u")
	enclosed   = setOf("td", "th", "caption")
)

func setOf(names ...string) map[string]bool {
	m := map[string]bool{}
	for _, name := range names {
		m[name] = true
	}
	return m
}

// nest closes each tag of s, within the bounds of depth, and removes end tags without a
// start tag.
func nest(s string) string {
	var out strings.Builder
	var open []string
	formats := 0
	shut := func(to int) {
		for i := len(open) - 1; i >= to; i-- {
			out.WriteString("</" + open[i] + ">")
			if formatting[open[i]] {
				formats--
			}
		}
		open = open[:to]
	}
	tokens := html.NewTokenizer(strings.NewReader(s))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		switch name := token.Data; token.Type {
		case html.StartTagToken, html.SelfClosingTagToken:
			if void[name] {
				out.WriteString(token.String())
				continue
			}
			if len(open) == maxDepth || formatting[name] && formats == maxFormatting {
				continue
			}
			token.Type = html.StartTagToken
			out.WriteString(token.String())
			open = append(open, name)
			if formatting[name] {
				formats++
			}
		case html.EndTagToken:
			for i := len(open) - 1; i >= 0; i-- {
				if open[i] == name {
					shut(i)
					break
				}
				if enclosed[open[i]] && formatting[name] {
					break
				}
			}
		case html.TextToken:
			out.WriteString(token.String())
		}
	}
	shut(0)
	return out.String()
}

// A part is a tag, an attribute of one, or a property of its style.
type part struct{ tag, attribute, property string }

func (p part) String() string {
	switch {
	case p.property != "":
		return fmt.Sprintf("<%s style=%q>", p.tag, p.property)
	case p.attribute != "":
		return fmt.Sprintf("<%s %s>", p.tag, p.attribute)
	}
	return "<" + p.tag + ">"
}

// missing describes which parts of s are not in clean.
func missing(s, clean string) string {
	type loss struct {
		part
		n int
	}
	var losses []loss
	has := parts(clean)
	for p, n := range parts(s) {
		if p.attribute != "" && has[part{tag: p.tag}] == 0 {
			continue // removed with its element
		}
		if n -= has[p]; n > 0 {
			losses = append(losses, loss{p, n})
		}
	}
	slices.SortFunc(losses, func(x, y loss) int {
		return cmp.Or(cmp.Compare(y.n, x.n), strings.Compare(x.String(), y.String()))
	})
	var words []string
	for i, l := range losses {
		if i == maxNames {
			words = append(words, fmt.Sprintf("%d more", len(losses)-maxNames))
			break
		}
		word := l.String()
		if l.n > 1 {
			word += fmt.Sprintf(" (%d)", l.n)
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

// parts counts the parts of s.
func parts(s string) map[part]int {
	n := map[part]int{}
	short := func(name string) string { return strings.ToValidUTF8(name[:min(len(name), maxName)], "") }
	tokens := html.NewTokenizer(strings.NewReader(s))
	for tokens.Next() != html.ErrorToken {
		token := tokens.Token()
		if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
			continue
		}
		tag := short(token.Data)
		n[part{tag: tag}]++
		for _, a := range token.Attr {
			if a.Key != "style" {
				n[part{tag: tag, attribute: short(a.Key)}]++
				continue
			}
			for rule := range strings.SplitSeq(a.Val, ";") {
				if name, _, ok := strings.Cut(rule, ":"); ok {
					n[part{tag, "style", short(strings.ToLower(strings.TrimSpace(name)))}]++
				}
			}
		}
	}
	return n
}
