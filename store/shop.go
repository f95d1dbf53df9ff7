package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// A Shop holds the id of the shop, which is stored in its database and is part of every
// name in Redis, because shops may share one Redis. Only a Shop makes Keys, so that no name
// can lack the id.
//
// An instance may start while MySQL is down. Until the id is known there are no Keys, and
// Redis is treated as unavailable.
type Shop struct {
	id    atomic.Pointer[string]
	known chan struct{} // closed once the id is known
	once  sync.Once
}

// NewShop returns a Shop without an id: see LoadID.
func NewShop() *Shop { return &Shop{known: make(chan struct{})} }

// NamedShop returns a Shop with that id.
func NamedShop(id string) *Shop {
	s := NewShop()
	s.setID(id)
	return s
}

// ErrShopUnknown: the shop's id has not been read from the database yet.
var ErrShopUnknown = errors.New("the shop's id is not known yet: " +
	"the database has not answered since this instance started")

// LoadID reads the id from the database, unless it is known.
func (s *Shop) LoadID(ctx context.Context, db *DB) error {
	if s.id.Load() != nil {
		return nil
	}
	id, err := db.ShopID(ctx)
	if err == nil {
		s.setID(id)
	}
	return err
}

func (s *Shop) setID(id string) {
	s.once.Do(func() {
		s.id.Store(&id)
		close(s.known)
	})
}

// Known returns a channel that is closed once the id is known.
func (s *Shop) Known() <-chan struct{} { return s.known }

// Keys returns the names of this shop, or ErrShopUnknown.
func (s *Shop) Keys() (Keys, error) {
	id := s.id.Load()
	if id == nil {
		return Keys{}, ErrShopUnknown
	}
	return Keys{*id}, nil
}

// Keys makes the names of one shop in Redis.
type Keys struct{ id string }

// KeyPrefix is the prefix of all keys of all shops.
const KeyPrefix = "shelfcast:"

// Key returns the key for a name, which may have a hash tag such as {42}.
func (k Keys) Key(name string) string { return KeyPrefix + k.id + ":" + name }

// Channel returns the channel of changed versions, to which other programs may publish.
func (k Keys) Channel() string { return "product_updates:" + k.id }

// SiblingChannel returns another channel, in the same Cluster slot as Channel, because one
// connection can subscribe to sharded channels of only one slot.
func (k Keys) SiblingChannel(name string) string { return "{" + k.Channel() + "}:" + name }

// ShopID returns the id of the shop, which Migrate creates, or ErrSchema.
func (db *DB) ShopID(ctx context.Context) (id string, err error) {
	err = db.read(ctx, "shop_id", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &id, `SELECT id FROM shop WHERE one = 1`)
	})
	if errors.Is(err, sql.ErrNoRows) || number(err) == erNoTable {
		err = fmt.Errorf("the shop has no id: %w", ErrSchema)
	}
	return id, err
}

// makeShopID gives the shop an id, unless it has one. If several instances try at once the
// primary key lets one win.
func (db *DB) makeShopID(ctx context.Context) error {
	id := strings.ToLower(rand.Text()[:12])
	return db.read(ctx, "shop_id", func(ctx context.Context) error {
		_, err := db.db.ExecContext(ctx, `INSERT IGNORE INTO shop (one, id) VALUES (1, ?)`, id)
		return err
	})
}
