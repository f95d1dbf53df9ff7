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

// A Shop names everything that a shop has in Redis. Two shops may share one
// Redis, so the id of the shop, which is kept in its database, is in each name;
// and as only a Shop makes Keys, no name can be made without it.
//
// An instance may start while MySQL is away. Until the id is known there are no
// Keys, and Redis is treated as if it were away.
type Shop struct {
	id    atomic.Pointer[string]
	known chan struct{} // closed once the id is known
	once  sync.Once
}

// NewShop returns a Shop whose id is yet to be learned.
func NewShop() *Shop { return &Shop{known: make(chan struct{})} }

// NamedShop returns a Shop with that id.
func NamedShop(id string) *Shop {
	s := NewShop()
	s.learn(id)
	return s
}

// ErrShopUnknown: the shop's id has not been read from the database yet.
var ErrShopUnknown = errors.New("the shop's id is not known yet: the database has not answered since this instance started")

// Learn reads the id from the database, unless it is known.
func (s *Shop) Learn(ctx context.Context, db *DB) error {
	if s.id.Load() != nil {
		return nil
	}
	id, err := db.ShopID(ctx)
	if err == nil {
		s.learn(id)
	}
	return err
}

func (s *Shop) learn(id string) {
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

// Keys are the names of one shop in Redis.
type Keys struct{ id string }

// KeyPrefix begins every key of every shop.
const KeyPrefix = "shelfcast:"

// Key returns the key of that name. A hash tag, as {42}, is the name's own.
func (k Keys) Key(name string) string { return KeyPrefix + k.id + ":" + name }

// Channel returns the channel of changes, to which other programs may publish.
func (k Keys) Channel() string { return "product_updates:" + k.id }

// Beside returns another channel, in the same slot of a Cluster as Channel: one
// connection is subscribed to sharded channels of one slot only.
func (k Keys) Beside(name string) string { return "{" + k.Channel() + "}:" + name }

// ShopID returns the id of the shop, which Migrate has made, or ErrSchema.
func (db *DB) ShopID(ctx context.Context) (id string, err error) {
	err = db.read(ctx, "shop", func(ctx context.Context) error {
		return db.db.GetContext(ctx, &id, `SELECT id FROM shop WHERE one = 1`)
	})
	if errors.Is(err, sql.ErrNoRows) || number(err) == erNoTable {
		err = fmt.Errorf("the shop has no id: %w", ErrSchema)
	}
	return id, err
}

// makeShopID gives the shop its id, unless it has one. The primary key lets one
// of those who try at the same time win.
func (db *DB) makeShopID(ctx context.Context) error {
	id := strings.ToLower(rand.Text()[:12])
	return db.read(ctx, "shop", func(ctx context.Context) error {
		_, err := db.db.ExecContext(ctx, `INSERT IGNORE INTO shop (one, id) VALUES (1, ?)`, id)
		return err
	})
}
