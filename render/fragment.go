package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"shelfcast/store"
)

// A Fragment is one version of one product in one view: the same bytes on the
// first page, in a frame and from a CDN. It is shared, and never changed.
type Fragment struct {
	store.Rev
	View        View   `json:"view"`
	HTML        string `json:"html"`
	Title       string `json:"title,omitempty"`       // the product's, as plain text; in detail views only, for the page around it
	ExternalID  string `json:"external_id,omitempty"` // what another system calls the product
	Unavailable bool   `json:"unavailable,omitempty"` // the product is unpublished or archived, and the HTML says no more

	encoded  []byte
	htmlJSON []byte // a part of encoded
	hash     string // of the templates that made it
}

// JSON is the fragment as it goes over the wire. The caller must not change it.
func (f *Fragment) JSON() []byte { return f.encoded }

// HTMLJSON is the HTML as a JSON string. The caller must not change it.
func (f *Fragment) HTMLJSON() []byte { return f.htmlJSON }

// ETag is that of the fragment's JSON.
func (f *Fragment) ETag() string { return fmt.Sprintf(`"%d-%s"`, f.Version, f.hash) }

func (f *Fragment) form() form { return form{f.View, f.hash} }

// NewFragment is the fragment of that product in that view, whose HTML is given.
func NewFragment(view View, p store.Product, html string) (*Fragment, error) {
	f := &Fragment{Rev: p.Rev, View: view, HTML: html, ExternalID: p.ExternalID, Unavailable: !p.Available()}
	if view.template() == string(Detail) {
		f.Title = p.Title
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // it is JSON, not a script in a page
	if err := encoder.Encode(f); err != nil {
		return nil, err
	}
	f.encoded = bytes.TrimSpace(b.Bytes())
	return f, f.findHTML()
}

// findHTML notes where in encoded the HTML is.
func (f *Fragment) findHTML() error {
	const name = `"html":`
	at := bytes.Index(f.encoded, []byte(name)) // the id, the version and the view come before it
	if at < 0 {
		return errors.New("a fragment without HTML")
	}
	var html json.RawMessage
	if err := json.NewDecoder(bytes.NewReader(f.encoded[at+len(name):])).Decode(&html); err != nil {
		return err
	}
	f.htmlJSON = f.encoded[at+len(name):][:len(html)]
	return nil
}

// parseFragment reads what JSON gave, of templates with that hash.
func parseFragment(encoded []byte, hash string) (*Fragment, error) {
	f := &Fragment{encoded: encoded, hash: hash}
	if err := json.Unmarshal(encoded, f); err != nil {
		return nil, err
	}
	return f, f.findHTML()
}

// size is what f takes in memory, in bytes.
func (f *Fragment) size() uint32 { return uint32(len(f.HTML) + len(f.encoded) + 200) }
