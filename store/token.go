package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// The scopes of tokens.
//
// To add a scope: add it here and to Scopes, give it to operations in api/admin, to
// scopeExceptions in api/admin/scope_test.go, and to docs/admin-api.md. If it includes
// another, api/auth/caller.go has to know.
const (
	ReadProducts  = "products:read"
	WriteProducts = "products:write" // includes reading
	AdminTokens   = "tokens:admin"
)

// Scopes has all scopes, in the order of the documents.
var Scopes = []string{ReadProducts, WriteProducts, AdminTokens}

// A Token authenticates a person or a program to the admin API. Its secret is shown once and not
// stored.
type Token struct {
	ID         int64      `json:"id" db:"id"`
	Name       string     `json:"name" db:"name"`
	Scopes     []string   `json:"scopes" db:"-"`
	CreatedBy  string     `json:"created_by" db:"created_by"`         // an Author's name
	CreatorKey string     `json:"created_by_key" db:"created_by_key"` // and key
	CreatedAt  time.Time  `json:"created_at" db:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at" db:"expires_at"`     // nil: never
	RevokedAt  *time.Time `json:"revoked_at" db:"revoked_at"`     // nil: not revoked
	LastUsedAt *time.Time `json:"last_used_at" db:"last_used_at"` // to the minute; nil: never

	ScopeList string    `json:"-" db:"scopes"`
	ReadAt    time.Time `json:"-" db:"read_at"` // when the row was read; all times are of the database's clock
}

const tokenColumns = `id, name, scopes, created_by, created_by_key, created_at, expires_at, revoked_at, last_used_at,
	UTC_TIMESTAMP(6) AS read_at`

// MaxTokenName is the longest name of a token, in characters.
const MaxTokenName = 100

// secretPrefix lets people and secret scanners recognise a token.
const secretPrefix = "shelfcast_"

// CreateToken creates a token and its secret of 130 random bits. With life 0 it never
// expires. Errors: ErrInvalid, ErrUnavailable.
func (db *DB) CreateToken(ctx context.Context, name string,
	scopes []string, life time.Duration) (t Token, secret string, err error) {
	if err := checkToken(name, scopes, life); err != nil {
		return Token{}, "", err
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	author := authorOf(ctx)
	secret = secretPrefix + rand.Text()
	var micros *int64
	if life > 0 {
		m := life.Microseconds()
		micros = &m
	}
	err = db.write(ctx, "create_token", func(ctx context.Context, tx *sqlx.Tx) error {
		made, err := tx.ExecContext(ctx, `
			INSERT INTO tokens (name, hash, scopes, created_by, created_by_key, created_at, expires_at)
			VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6), TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6)))`,
			name, hashOf(secret), strings.Join(scopes, " "), author.Name, author.Key, micros)
		if err != nil {
			return err
		}
		id, err := made.LastInsertId()
		if err != nil {
			return err
		}
		t, err = token(ctx, tx, `id = ?`, id)
		return err
	})
	if err != nil {
		return Token{}, "", err
	}
	return t, secret, nil
}

func checkToken(name string, scopes []string, life time.Duration) error {
	var broken []FieldError
	if n := len([]rune(name)); n == 0 || n > MaxTokenName || strings.TrimSpace(name) != name || !Printable(name) {
		broken = append(broken, FieldError{"name",
			fmt.Sprintf("must have 1 to %d visible characters, without spaces around them", MaxTokenName)})
	}
	if len(scopes) == 0 {
		broken = append(broken, FieldError{"scopes", "is required"})
	}
	for _, scope := range scopes {
		if !slices.Contains(Scopes, scope) {
			broken = append(broken, FieldError{"scopes",
				fmt.Sprintf("has %q; the scopes are %s", scope, strings.Join(Scopes, ", "))})
		}
	}
	if life < 0 {
		broken = append(broken, FieldError{"expires", "is in the past"})
	}
	if len(broken) > 0 {
		return &InvalidError{broken}
	}
	return nil
}

// hashOf needs neither a salt nor a slow hash, because the secret is long and random.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Tokens returns all tokens, including revoked and expired ones, newest first.
func (db *DB) Tokens(ctx context.Context) ([]Token, error) {
	tokens := []Token{}
	err := db.read(ctx, "tokens", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &tokens, `SELECT `+tokenColumns+` FROM tokens ORDER BY id DESC`)
	})
	for i := range tokens {
		tokens[i].Scopes = strings.Fields(tokens[i].ScopeList)
	}
	return tokens, err
}

// RevokeToken revokes a token; one that is already revoked stays unchanged. Errors:
// ErrNoToken, ErrUnavailable.
func (db *DB) RevokeToken(ctx context.Context, id int64) (t Token, err error) {
	err = db.write(ctx, "revoke_token", func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx,
			`UPDATE tokens SET revoked_at = UTC_TIMESTAMP(6) WHERE id = ? AND revoked_at IS NULL`, id)
		if err == nil {
			t, err = token(ctx, tx, `id = ?`, id)
		}
		return err
	})
	return t, err
}

// TokenBySecret returns the valid token with this secret, and updates last_used_at at most
// once a minute. ErrNoToken: there is none, or it has expired or was revoked.
func (db *DB) TokenBySecret(ctx context.Context, secret string) (t Token, err error) {
	err = db.read(ctx, "token", func(ctx context.Context) (err error) {
		t, err = token(ctx, db.db, `hash = ?`, hashOf(secret))
		return err
	})
	switch {
	case err != nil:
		return Token{}, err
	case t.RevokedAt != nil, t.ExpiresAt != nil && !t.ReadAt.Before(*t.ExpiresAt):
		return Token{}, ErrNoToken
	case t.LastUsedAt != nil && t.ReadAt.Sub(*t.LastUsedAt) < time.Minute:
		return t, nil
	}
	err = db.read(ctx, "use_token", func(ctx context.Context) error {
		_, err := db.db.ExecContext(ctx, `
			UPDATE tokens
			SET last_used_at = UTC_TIMESTAMP(6)
			WHERE id = ? AND (last_used_at IS NULL OR last_used_at <= TIMESTAMPADD(MINUTE, -1, UTC_TIMESTAMP(6)))`, t.ID)
		return err
	})
	if errors.Is(err, ErrUnavailable) {
		err = nil // a read-only server: the token is valid nevertheless
	}
	return t, err
}

func token(ctx context.Context, q sqlx.QueryerContext, where string, arg any) (t Token, err error) {
	err = sqlx.GetContext(ctx, q, &t, `SELECT `+tokenColumns+` FROM tokens WHERE `+where, arg)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNoToken
	}
	t.Scopes = strings.Fields(t.ScopeList)
	return t, err
}
