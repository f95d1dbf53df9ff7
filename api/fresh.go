package api

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// fresh has what was read from the database a moment ago, for all who ask for
// it; and what was read last, for as long as the database does not answer.
// Whoever asks after that moment waits for it to be read again, once for all.
type fresh[V any] struct {
	keep    time.Duration         // that moment
	same    func(old, new V) bool // then the old one stays, so that whoever has made something of it sees that it does
	read    func(ctx context.Context, key string) (V, error)
	stale   func(err error) // told when an old one is used
	epoch   func() int64    // what was read in another is not used at all; nil: there is but one
	values  *otter.Cache[string, *aged[V]]
	flights singleflight.Group
}

// An aged value is good until a time, in nanoseconds.
type aged[V any] struct {
	value  *V
	epoch  int64 // when its reading began
	until  atomic.Int64
	failed atomic.Bool // at the last try it could not be read again
}

// haste is how long one who may have an old value waits for a new one.
const haste = 250 * time.Millisecond

func newFresh[V any](size int, f *fresh[V]) *fresh[V] {
	f.values = otter.Must(&otter.Options[string, *aged[V]]{MaximumSize: size})
	return f
}

// now returns the value of that key if it need not be read.
func (f *fresh[V]) now(key string) (*V, bool) {
	had, found, _ := f.has(key)
	if found && time.Now().UnixNano() < had.until.Load() {
		return had.value, true
	}
	return nil, false
}

// get returns the value of that key. It is another pointer only if it is another
// value. Whoever is to read it is asked for leave first (nil: all may read): if
// that is refused, what was read before will do.
func (f *fresh[V]) get(ctx context.Context, key string, leave func(context.Context) error) (*V, error) {
	for {
		read := false
		value, err := f.join(ctx, key, func(ctx context.Context) error {
			read = true
			if leave == nil {
				return nil
			}
			return leave(ctx)
		})
		// Another one, whose flight this was, may not have been let in.
		if errors.Is(err, ErrSearches) && !read && ctx.Err() == nil {
			continue
		}
		return value, err
	}
}

// join waits for the flight that reads the value, and begins it if there is none.
func (f *fresh[V]) join(ctx context.Context, key string, leave func(context.Context) error) (*V, error) {
	had, found, epoch := f.has(key)
	if found && time.Now().UnixNano() < had.until.Load() {
		return had.value, nil
	}
	flight := f.flights.DoChan(fmt.Sprint(epoch, key), func() (any, error) {
		return f.again(context.WithoutCancel(ctx), key, leave) // others wait for it too
	})
	var late <-chan time.Time
	if found {
		if had.failed.Load() {
			return had.value, nil
		}
		timer := time.NewTimer(haste)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*V), nil
	case <-late:
		return had.value, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// has is what was read last in this epoch.
func (f *fresh[V]) has(key string) (had *aged[V], found bool, epoch int64) {
	if f.epoch != nil {
		epoch = f.epoch()
	}
	had, found = f.values.GetIfPresent(key)
	return had, found && had.epoch == epoch, epoch
}

// again reads the value.
func (f *fresh[V]) again(ctx context.Context, key string, leave func(context.Context) error) (*V, error) {
	had, found, epoch := f.has(key)
	if found && time.Now().UnixNano() < had.until.Load() {
		return had.value, nil // a flight has landed since
	}
	if err := leave(ctx); err != nil {
		if found {
			return had.value, nil
		}
		return nil, err
	}
	value, err := f.read(ctx, key)
	until := time.Now().Add(f.keep).UnixNano()
	if err != nil && !found {
		return nil, err
	}
	if err != nil || found && f.same(*had.value, value) {
		if err != nil {
			f.stale(err)
		}
		had.failed.Store(err != nil)
		had.until.Store(until)
		return had.value, nil
	}
	now := &aged[V]{value: &value, epoch: epoch}
	now.until.Store(until)
	f.values.Set(key, now)
	return now.value, nil
}
