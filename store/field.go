package store

import (
	"bytes"
	"strings"
)

// The editable columns: as SELECT reads them, and as INSERT and UPDATE write them from
// the named parameters of a Product.
var (
	selectList  = join(func(f field) string { return f.read })
	insertList  = join(func(f field) string { return f.name })
	insertSet   = join(func(f field) string { return f.write })
	assignments = join(func(f field) string { return f.name + ` = ` + f.write })
)

func join(of func(field) string) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, of(f))
	}
	return strings.Join(parts, `, `)
}

// A field is one line of the table.
type field struct {
	name       string // of the column, in JSON, in the history and in errors
	read       string // expression in SELECT; name
	write      string // expression in INSERT and UPDATE; the named parameter
	isRequired bool   // a new product must have it
	isNullable bool   // null in a merge patch sets it to the zero value
	textRule   *textRule

	value  func(*Product) any              // pointer to the field of the product
	change func(from, to *Product) *Change // nil: both have the same value
	target func(*Edit) any                 // pointer to the field of the edit, for JSON
	given  func(*Edit) bool                // the edit sets the field
	clear  func(*Edit)                     // makes the edit set the zero value
	apply  func(e *Edit, p *Product)       // sets the field of the product, if the edit does
}

// A textRule limits a text, in characters.
type textRule struct {
	least, most int
	unpadded    bool // without space around it
}

// editable is a field that an edit sets with a pointer; nil leaves it unchanged.
func editable[T comparable](name string, value func(*Product) *T, edit func(*Edit) **T) field {
	f := tracked(name, value)
	f.target = func(e *Edit) any { return edit(e) }
	f.given = func(e *Edit) bool { return *edit(e) != nil }
	f.clear = func(e *Edit) { *edit(e) = new(T) }
	f.apply = func(e *Edit, p *Product) {
		if to := *edit(e); to != nil {
			*value(p) = *to
		}
	}
	return f
}

// editablePrice is a price that a product can be without.
func editablePrice(name string, value func(*Product) **Price, edit func(*Edit) *PriceChange) field {
	f := tracked(name, value)
	f.target = func(e *Edit) any { return edit(e) }
	f.given = func(e *Edit) bool { return edit(e).Set }
	f.clear = func(e *Edit) { *edit(e) = PriceChange{Set: true} }
	f.apply = func(e *Edit, p *Product) {
		if edit(e).Set {
			*value(p) = edit(e).To
		}
	}
	return f
}

// tracked is a field whose changes are in the history.
func tracked[T comparable](name string, value func(*Product) *T) field {
	return field{
		name: name, read: name, write: `:` + name,
		value: func(p *Product) any { return value(p) },
		change: func(from, to *Product) *Change {
			if *value(from) == *value(to) {
				return nil // without the cost of JSON
			}
			was, is := mustJSON(value(from)), mustJSON(value(to))
			if bytes.Equal(was, is) {
				return nil
			}
			return &Change{name, was, is}
		},
	}
}

func (f field) required() field { f.isRequired = true; return f }
func (f field) nullable() field { f.isNullable = true; return f }

func (f field) sql(read, write string) field { f.read, f.write = read, write; return f }

func (f field) text(least, most int) field {
	f.textRule = &textRule{least: least, most: most}
	return f
}

func (f field) unpadded() field { f.textRule.unpadded = true; return f }

// fieldByName returns the field with that name in JSON, upper or lower case as
// encoding/json has it.
func fieldByName(name string) (field, bool) {
	for _, f := range fields {
		if strings.EqualFold(f.name, name) {
			return f, true
		}
	}
	return field{}, false
}

// diff returns the changes from one product to another.
func diff(from, to Product) []Change {
	var changes []Change
	for _, f := range historyFields {
		if c := f.change(&from, &to); c != nil {
			changes = append(changes, *c)
		}
	}
	return changes
}
