package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

func TestTokens(t *testing.T) {
	dsn := testkit.DSN(t)
	db, ctx := open(t, dsn), store.WithAuthor(t.Context(), store.Author{Key: "token:anna", Name: "anna"})
	erp, secret, err := db.CreateToken(ctx, "erp",
		[]string{store.WriteProducts, store.ReadProducts, store.ReadProducts}, 90*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "shelfcast_") || len(secret) < 30 || erp.CreatedBy != "anna" ||
		!slices.Equal(erp.Scopes, []string{store.ReadProducts, store.WriteProducts}) ||
		erp.ExpiresAt.Sub(erp.CreatedAt).Round(time.Minute) != 90*24*time.Hour || erp.LastUsedAt != nil {
		t.Errorf("%q, %+v", secret, erp)
	}
	script, other, err := db.CreateToken(ctx, "script", []string{store.AdminTokens}, 0)
	if err != nil || other == secret || script.ExpiresAt != nil {
		t.Fatalf("%+v, %v", script, err)
	}
	for secret, want := range map[string]store.Token{secret: erp, other: script} {
		if got, err := db.TokenBySecret(ctx, secret); err != nil ||
			got.ID != want.ID || !slices.Equal(got.Scopes, want.Scopes) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, none := range []string{"", "shelfcast_", strings.ToLower(secret), secret + "x"} {
		if _, err := db.TokenBySecret(ctx, none); !errors.Is(err, store.ErrNoToken) {
			t.Errorf("%q: %v", none, err)
		}
	}
	all, err := db.Tokens(ctx)
	if err != nil || len(all) != 2 || all[0].ID != script.ID || all[0].LastUsedAt == nil {
		t.Errorf("%+v, %v", all, err)
	}
	for range 2 {
		if got, err := db.RevokeToken(ctx, script.ID); err != nil || got.RevokedAt == nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	plain(t, dsn, "UPDATE tokens SET expires_at = UTC_TIMESTAMP(6) WHERE name = 'erp'")
	for _, gone := range []string{secret, other} {
		if _, err := db.TokenBySecret(ctx, gone); !errors.Is(err, store.ErrNoToken) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := db.RevokeToken(ctx, 999); !errors.Is(err, store.ErrNoToken) {
		t.Error(err)
	}
	for _, bad := range []struct {
		name   string
		scopes []string
	}{{"", store.Scopes}, {" x", store.Scopes},
		{strings.Repeat("x", 101), store.Scopes}, {"x", nil}, {"x", []string{"all"}}} {
		if _, _, err := db.CreateToken(ctx, bad.name, bad.scopes, 0); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// The database has nothing that is as good as a token.
func TestTokenSecretIsNotStored(t *testing.T) {
	dsn := testkit.DSN(t)
	db := open(t, dsn)
	var secrets []string
	for _, name := range []string{"erp", "script"} {
		_, secret, err := db.CreateToken(t.Context(), name, []string{store.ReadProducts}, 0)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secret)
	}
	rows, err := testkit.SQL(t, dsn).Query(`SELECT CONCAT_WS('|', id, name, hash, scopes, created_by) FROM tokens`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			t.Fatal(err)
		}
		n++
		for _, secret := range secrets {
			if strings.Contains(strings.ToLower(row), strings.ToLower(strings.TrimPrefix(secret, "shelfcast_"))) {
				t.Error(row)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d rows", n)
	}
}
