package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// UnmarshalJSON reads a merge patch. Unknown names are ignored.
func (e *Edit) UnmarshalJSON(b []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(b))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		var object struct{}
		*e = Edit{}
		return json.Unmarshal(b, &object) // null is an empty patch; anything else is an error
	}
	var patch Edit
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		f, ok := fieldByName(name.(string))
		switch {
		case !ok:
		case f.isNullable && string(value) == "null":
			f.clear(&patch)
		default:
			if err := json.Unmarshal(value, f.target(&patch)); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return err
	}
	*e = patch
	return nil
}

// WouldChange reports whether e would change p. Errors: ErrInvalid.
func (db *DB) WouldChange(p Product, e Edit) (bool, error) {
	edited, err := e.apply(p, db.cfg.Videos)
	return err == nil && len(diff(p, edited)) > 0, err
}

// complete returns e with all fields set: those that e leaves out get the value of a
// new product. An *InvalidError names the required ones that are missing.
func (e Edit) complete() (Edit, error) {
	var missing []FieldError
	for _, f := range fields {
		switch {
		case f.given(&e):
		case f.isRequired:
			missing = append(missing, FieldError{f.name, "is required"})
		default:
			f.clear(&e)
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
		return Edit{}, &InvalidError{missing}
	}
	return e, nil
}

// newProduct returns the product that e creates, or an *InvalidError. videos: see
// CleanHTML.
func (e Edit) newProduct(videos bool) (Product, error) {
	p, err := e.apply(Product{}, videos)
	if e.Price == nil { // zero is a valid price, so apply does not miss it
		missing := FieldError{"price", "is required"}
		if invalid, ok := errors.AsType[*InvalidError](err); ok {
			return Product{}, &InvalidError{append(invalid.Fields, missing)}
		}
		return Product{}, &InvalidError{[]FieldError{missing}}
	}
	return p, err
}

// apply returns p as e changes it, or an *InvalidError. videos: see CleanHTML.
func (e Edit) apply(p Product, videos bool) (Product, error) {
	for _, f := range fields {
		f.apply(&e, &p)
	}
	p.Title, p.Vendor, p.ImageURL = strings.TrimSpace(p.Title), strings.TrimSpace(p.Vendor), strings.TrimSpace(p.ImageURL)
	if e.Description != nil {
		p.Description = strings.TrimSpace(SanitizeHTML(strings.ReplaceAll(p.Description, "\r\n", "\n"), videos))
	}
	if err := p.check(); err != nil {
		return Product{}, err
	}
	p.normalise()
	return p, nil
}
