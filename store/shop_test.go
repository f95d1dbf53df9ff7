package store_test

import (
	"errors"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// A shop keeps its id for as long as nobody takes it away, and another database
// is another shop.
func TestShopIDIsStable(t *testing.T) {
	first, second := open(t, testkit.DSN(t)), open(t, testkit.DSN(t))
	id, err := first.ShopID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := first.ShopID(t.Context()); again != id || err != nil {
		t.Errorf("migrating again made %q of %q: %v", again, id, err)
	}
	if other, err := second.ShopID(t.Context()); other == id || err != nil {
		t.Errorf("two shops have the id %q: %v", other, err)
	}
}

// How a copy of a database becomes a shop of its own, as docs/operations.md has it.
func TestCopiedDatabaseGetsNewShopID(t *testing.T) {
	dsn := testkit.DSN(t)
	db, err := store.Open(dsn, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ShopID(t.Context()); !errors.Is(err, store.ErrSchema) {
		t.Errorf("before the first migration: %v", err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, err := db.ShopID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := testkit.SQL(t, dsn).Exec(`DELETE FROM shop`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ShopID(t.Context()); !errors.Is(err, store.ErrSchema) {
		t.Errorf("without a row: %v", err)
	}
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now, err := db.ShopID(t.Context()); now == id || now == "" || err != nil {
		t.Errorf("the id was %q, and is %q: %v", id, now, err)
	}
}

// The channels of a shop are in one slot of a Cluster, as one connection has to
// be subscribed to all of them, and the keys of a product in another.
func TestRedisNamesHaveShopIDAndHashTag(t *testing.T) {
	if _, err := store.NewShop().Keys(); !errors.Is(err, store.ErrShopUnknown) {
		t.Errorf("names before the id is known: %v", err)
	}
	keys, err := store.NamedShop("k3xq").Keys()
	if err != nil {
		t.Fatal(err)
	}
	tag := func(name string) string {
		if _, rest, found := strings.Cut(name, "{"); found {
			inner, _, _ := strings.Cut(rest, "}")
			return inner
		}
		return name
	}
	if name := keys.Key("current:{42}"); name != "shelfcast:k3xq:current:{42}" || tag(name) != "42" {
		t.Error(name)
	}
	name := keys.SiblingChannel("broadcast")
	if name != "{product_updates:k3xq}:broadcast" || tag(name) != tag(keys.Channel()) {
		t.Error(name, keys.Channel())
	}
}
