package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"shelfcast/store"
)

// A Fragment is one version of one product in one view. Its bytes are the same in a
// page, in a frame and in an answer that a CDN keeps. It is shared and immutable.
type Fragment struct {
	store.Rev
	View        View   `json:"view"`
	HTML        string `json:"html"`
	Title       string `json:"title,omitempty"`       // the product's, as plain text, for the page around it; in detail views only
	ExternalID  string `json:"external_id,omitempty"` // the product's ID in another system
	Unavailable bool   `json:"unavailable,omitempty"` // the product is unpublished or archived, and the HTML says no more

	meta     *PageMeta // in detail views only
	stored   []byte    // encoded, and behind a line break the JSON of facts
	encoded  []byte    // a part of stored
	htmlJSON []byte    // a part of encoded
	hash     string    // of the templates that rendered it
}

// JSON returns the fragment as it is sent to clients. The caller must not change it.
func (f *Fragment) JSON() []byte { return f.encoded }

// HTMLJSON returns the HTML as a JSON string. The caller must not change it.
func (f *Fragment) HTMLJSON() []byte { return f.htmlJSON }

// PageMeta returns the page meta of a fragment in a detail view, and nil in another view. The
// caller must not change them.
func (f *Fragment) PageMeta() *PageMeta { return f.meta }

// ETag returns the entity tag of JSON.
func (f *Fragment) ETag() string { return fmt.Sprintf(`"%d-%s"`, f.Version, f.hash) }

func (f *Fragment) variant() variant { return variant{f.View, f.hash} }

// NewFragment returns the fragment of p in that view with this HTML.
func NewFragment(view View, p store.Product, html string) (*Fragment, error) {
	f := &Fragment{Rev: p.Rev, View: view, HTML: html, ExternalID: p.ExternalID, Unavailable: !p.Available()}
	if view.isDetail() {
		f.Title, f.meta = p.Title, newPageMeta(p)
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // it is JSON, not a script in a page
	if err := encoder.Encode(f); err != nil {
		return nil, err
	}
	length := b.Len() - 1 // without the line break
	if f.meta != nil {
		if err := encoder.Encode(f.meta); err != nil {
			return nil, err
		}
	}
	f.stored = b.Bytes()[:b.Len()-1]
	f.encoded = f.stored[:length:length]
	return f, f.findHTML()
}

// parseFragment reads what Redis has of a fragment of templates with that hash.
func parseFragment(stored []byte, hash string) (*Fragment, error) {
	encoded, facts, _ := bytes.Cut(stored, []byte("\n"))
	f := &Fragment{stored: stored, encoded: encoded[:len(encoded):len(encoded)], hash: hash}
	if err := json.Unmarshal(encoded, f); err != nil {
		return nil, err
	}
	if f.View.isDetail() {
		if err := json.Unmarshal(facts, &f.meta); err != nil {
			return nil, err
		}
		if f.meta == nil {
			return nil, errors.New("a detail fragment has no facts")
		}
	}
	return f, f.findHTML()
}

// findHTML sets htmlJSON.
func (f *Fragment) findHTML() error {
	const name = `"html":`
	at := bytes.Index(f.encoded, []byte(name)) // only numbers and the view are before it
	if at < 0 {
		return errors.New("a fragment has no HTML")
	}
	var html json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(f.encoded[at+len(name):])).Decode(&html); err != nil {
		return err
	}
	f.htmlJSON = f.encoded[at+len(name):][:len(html)]
	return nil
}

// size estimates the memory that f takes, in bytes. PageMeta counts twice, as JSON and as
// values.
func (f *Fragment) size() uint32 {
	return uint32(len(f.HTML) + len(f.stored) + len(f.stored) - len(f.encoded) + 200)
}
