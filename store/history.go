package store

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/jmoiron/sqlx"
)

// An Action is what somebody did to a product.
type Action string

// The actions that a history tells of.
const (
	Created   Action = "create"
	Edited    Action = "edit"
	Archived  Action = "archive"
	Restored  Action = "restore"
	Repriced  Action = "reprice"
	Refreshed Action = "refresh" // a new version without a change
)

// An Entry says who made which version of a product, and what it changed. What
// another program writes with plain SQL has none.
type Entry struct {
	Version   int64     `json:"version" db:"version"`
	MadeAt    time.Time `json:"made_at" db:"made_at"`
	Action    Action    `json:"action" db:"action"`
	Author    string    `json:"author" db:"author" doc:"What the author is called, which others may be called too; empty if nobody said"`
	AuthorKey string    `json:"author_key" db:"author_key" doc:"Who it is, and nobody else: root, token:ID, jwt:ISSUER:SUB; empty if nobody said"`
	Changes   []Change  `json:"changes" db:"-"`

	Encoded []byte `json:"-" db:"changes"`
}

// A Change is a field that has become another, both as JSON. From is null in the
// entry of a creation.
type Change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

// An Author is who makes edits and tokens. Others may have the same name: a token's is
// what its maker wrote, a person's what the identity provider says. Nobody else has
// the key, whose beginning says which kind of author it is and is nobody's to choose.
type Author struct {
	Key  string // up to 300 characters; "": nobody said
	Name string // cut after 190 characters
}

type authorKey struct{}

// By makes ctx that of the author's edits, for the history. It is for whoever knows
// who asks: the admin API, and the commands.
func By(ctx context.Context, author Author) context.Context {
	author.Name = cut(author.Name, 190)
	return context.WithValue(ctx, authorKey{}, author)
}

// authorOf returns the author that By has put into ctx.
func authorOf(ctx context.Context) Author {
	author, _ := ctx.Value(authorKey{}).(Author)
	return author
}

// Printable reports whether s has nothing in it that is not seen, or that changes
// how what stands beside it is seen. A name that is not may look like another.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// cut is s, or as many of its first characters.
func cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}

// diff has the fields in which b differs from a, in the order in which a product
// has them.
func diff(a, b Product) []Change {
	var changes []Change
	field := func(name string, from, to any) {
		was, is := mustJSON(from), mustJSON(to)
		if !bytes.Equal(was, is) {
			changes = append(changes, Change{name, was, is})
		}
	}
	field("sku", a.SKU, b.SKU)
	field("external_id", a.ExternalID, b.ExternalID)
	field("title", a.Title, b.Title)
	field("description", a.Description, b.Description)
	field("vendor", a.Vendor, b.Vendor)
	field("image_url", a.ImageURL, b.ImageURL)
	field("price", a.Price, b.Price)
	field("compare_at_price", a.CompareAtPrice, b.CompareAtPrice)
	field("currency", a.Currency, b.Currency)
	field("stock", a.Stock, b.Stock)
	field("published", a.Published, b.Published)
	field("archived", a.Archived, b.Archived)
	return changes
}

// birth is the diff to a product that was not there.
func birth(p Product) []Change {
	changes := diff(Product{}, p)
	for i := range changes {
		changes[i].From = json.RawMessage("null")
	}
	return changes
}

// mustJSON is for values that have JSON.
func mustJSON(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}

// A deed is what one row of the history is made of.
type deed struct {
	rev     Rev
	action  Action
	changes []Change
}

// perStatement is how many rows a statement writes at most, and packet how many
// bytes: a server takes 16 MiB by default.
const (
	perStatement = 500
	packet       = 4 << 20
)

// record writes the history of what a transaction has done, in that transaction.
func record(ctx context.Context, tx *sqlx.Tx, deeds ...deed) error {
	author := authorOf(ctx)
	for len(deeds) > 0 {
		var args []any
		rows, size := 0, 0
		for rows < min(len(deeds), perStatement) && (rows == 0 || size < packet) {
			d := deeds[rows]
			changes := mustJSON(append([]Change{}, d.changes...)) // [] and not null
			args = append(args, d.rev.ID, d.rev.Version, d.action, author.Name, author.Key, changes)
			size += len(changes)
			rows++
		}
		deeds = deeds[rows:]
		_, err := tx.ExecContext(ctx, `
			INSERT INTO product_history (product_id, version, action, author, author_key, changes, made_at)
			VALUES `+strings.Repeat(`(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6)), `, rows-1)+`(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// History has what was made of a product, newest first: at most limit entries of
// versions below before; before 0 begins with the newest. ErrNotFound if there
// is no such product.
func (db *DB) History(ctx context.Context, id, before int64, limit int) ([]Entry, error) {
	if _, err := db.Product(ctx, id); err != nil {
		return nil, err
	}
	entries := []Entry{}
	err := db.read(ctx, "history", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &entries, `
			SELECT version, made_at, action, author, author_key, changes
			FROM product_history
			WHERE product_id = ? AND (? = 0 OR version < ?)
			ORDER BY version DESC
			LIMIT ?`, id, before, before, limit)
	})
	for i := range entries {
		if err == nil {
			err = json.Unmarshal(entries[i].Encoded, &entries[i].Changes)
		}
	}
	return entries, err
}
