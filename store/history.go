package store

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/jmoiron/sqlx"
)

// An Action is a kind of change of a product.
type Action string

// The actions of the history.
const (
	Created   Action = "create"
	Edited    Action = "edit"
	Archived  Action = "archive"
	Restored  Action = "restore"
	Repriced  Action = "reprice"
	Refreshed Action = "refresh" // a new version without a change
)

// A HistoryEntry has the author and the changes of a version of a product. Versions that
// another program makes with plain SQL have no entry.
type HistoryEntry struct {
	Version   int64     `json:"version" db:"version"`
	MadeAt    time.Time `json:"made_at" db:"made_at"`
	Action    Action    `json:"action" db:"action"`
	Author    string    `json:"author" db:"author" doc:"Display name of the author; not unique; empty if unknown"`
	AuthorKey string    `json:"author_key" db:"author_key" doc:"Unique key of the author: root, token:ID or jwt:ISSUER:SUB; empty if unknown"`
	Changes   []Change  `json:"changes" db:"-"`

	Encoded []byte `json:"-" db:"changes"`
}

// A Change is the old and the new value of a field, as JSON. From is null if the product
// was created.
type Change struct {
	Field string          `json:"field"`
	From  json.RawMessage `json:"from"`
	To    json.RawMessage `json:"to"`
}

// An Author makes edits and tokens. Names are not unique: a token's name is
// chosen by its creator, a person's comes from the identity provider. Keys are unique. A key's
// prefix is the kind of author, which authors cannot choose.
type Author struct {
	Key  string // up to 300 characters; "": unknown
	Name string // cut after 190 characters
}

type authorKey struct{}

// WithAuthor returns a context whose edits the history attributes to author. The admin API
// and the commands call it.
func WithAuthor(ctx context.Context, author Author) context.Context {
	author.Name = cut(author.Name, 190)
	return context.WithValue(ctx, authorKey{}, author)
}

// authorOf returns the author of WithAuthor, or the zero value.
func authorOf(ctx context.Context) Author {
	author, _ := ctx.Value(authorKey{}).(Author)
	return author
}

// Printable reports whether s has only visible characters. Invisible ones, and those that
// change the direction of text, could make one name look like another.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// cut returns the first most characters of s.
func cut(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most])
	}
	return s
}

// creationChanges returns the changes of a product that was created.
func creationChanges(p Product) []Change {
	changes := diff(Product{}, p)
	for i := range changes {
		changes[i].From = json.RawMessage("null")
	}
	return changes
}

// mustJSON encodes values that always have a JSON form.
func mustJSON(v any) []byte {
	encoded, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encoded
}

// A historyRow is one row of product_history: what a transaction did to one product.
type historyRow struct {
	rev     Rev
	action  Action
	changes []Change
}

// Bounds of one statement: its rows, and about how many bytes it has. A server accepts
// 16 MiB by default.
const (
	maxRowsPerStatement = 500
	maxPacket           = 4 << 20
)

// writeHistory writes rows in the transaction that made the changes.
func writeHistory(ctx context.Context, tx *sqlx.Tx, rows ...historyRow) error {
	author := authorOf(ctx)
	for len(rows) > 0 {
		var args []any
		n, size := 0, 0
		for n < min(len(rows), maxRowsPerStatement) && (n == 0 || size < maxPacket) {
			r := rows[n]
			changes := mustJSON(append([]Change{}, r.changes...)) // [] and not null
			args = append(args, r.rev.ID, r.rev.Version, r.action, author.Name, author.Key, changes)
			size += len(changes)
			n++
		}
		rows = rows[n:]
		_, err := tx.ExecContext(ctx, `
			INSERT INTO product_history (product_id, version, action, author, author_key, changes, made_at)
			VALUES `+strings.Repeat(`(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6)), `, n-1)+
			`(?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6))`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

// History returns up to limit entries of a product, newest first, and reports whether
// there are more. before returns only entries of lower versions; 0 starts at the newest.
// The page may be shorter than limit, as with List. Errors: ErrNotFound, ErrUnavailable.
func (db *DB) History(ctx context.Context, id, before int64, limit int) (entries []HistoryEntry, more bool, err error) {
	if _, err := db.Product(ctx, id); err != nil {
		return nil, false, err
	}
	err = db.read(ctx, "history", func(ctx context.Context) (err error) {
		entries, more, err = readPage(ctx, db.db, limit, func(e HistoryEntry) int { return len(e.Encoded) }, `
			SELECT version, made_at, action, author, author_key, changes
			FROM product_history
			WHERE product_id = ? AND (? = 0 OR version < ?)
			ORDER BY version DESC`, id, before, before)
		return err
	})
	for i := range entries {
		if err == nil {
			err = json.Unmarshal(entries[i].Encoded, &entries[i].Changes)
		}
	}
	return entries, more, err
}
