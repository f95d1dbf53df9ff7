package public

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// A staleCache caches values that were read from the database, as in stale-while-revalidate. A value is fresh for a
// while. After that, requests wait for one shared read, but no longer than maxRefreshWait if there is a
// stale value. While reads fail, the stale value is used at once.
type staleCache[V any] struct {
	freshFor   time.Duration         // how long a value is fresh
	equal      func(old, new V) bool // equal values keep the old pointer, so that what was made from it stays valid
	read       func(ctx context.Context, key string) (value V, worked time.Duration, err error)
	onStale    func(err error) // called when a stale value is used because a read failed
	generation func() int64    // values of another generation are not used at all; nil: there is only one
	entries    *otter.Cache[string, *staleEntry[V]]
	flights    singleflight.Group
}

// A staleEntry is a value that is fresh until a time, in nanoseconds.
type staleEntry[V any] struct {
	value      *V
	generation int64 // when its read began
	freshUntil atomic.Int64
	failed     atomic.Bool // the last read failed
}

// A readPermit is called before a value is read. It returns an error if the value must not be read for this request,
// else a function to call with the time that the database has worked.
type readPermit func(context.Context) (after func(worked time.Duration), err error)

// maxRefreshWait is how long a request that could use a stale value waits for a fresh one.
const maxRefreshWait = 250 * time.Millisecond

func newStaleCache[V any](size int, c *staleCache[V]) *staleCache[V] {
	c.entries = otter.Must(&otter.Options[string, *staleEntry[V]]{MaximumSize: size})
	return c
}

// peek returns the value of the key if it is fresh.
func (c *staleCache[V]) peek(key string) (*V, bool) {
	entry, found, _ := c.lookUp(key)
	if found && time.Now().UnixNano() < entry.freshUntil.Load() {
		return entry.value, true
	}
	return nil, false
}

// get returns the value of the key. The pointer changes only if the value does. may is called before a read (nil:
// always allowed). If it returns an error, a stale value is returned if there is one.
func (c *staleCache[V]) get(ctx context.Context, key string, may readPermit) (*V, error) {
	for {
		read := false
		value, err := c.wait(ctx, key, func(ctx context.Context) (func(time.Duration), error) {
			read = true
			if may == nil {
				return func(time.Duration) {}, nil
			}
			return may(ctx)
		})
		// The request whose read this was has been refused; this one may read.
		if errors.Is(err, errTooManySearches) && !read && ctx.Err() == nil {
			continue
		}
		return value, err
	}
}

// wait waits for the read of the value that is under way, and starts one if there is none.
func (c *staleCache[V]) wait(ctx context.Context, key string, may readPermit) (*V, error) {
	entry, found, generation := c.lookUp(key)
	if found && time.Now().UnixNano() < entry.freshUntil.Load() {
		return entry.value, nil
	}
	flight := c.flights.DoChan(fmt.Sprint(generation, key), func() (any, error) {
		return c.refresh(context.WithoutCancel(ctx), key, may) // others wait for it too
	})
	var timeout <-chan time.Time
	if found {
		if entry.failed.Load() {
			return entry.value, nil
		}
		timer := time.NewTimer(maxRefreshWait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case r := <-flight:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*V), nil
	case <-timeout:
		return entry.value, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// lookUp returns what was read last in this generation.
func (c *staleCache[V]) lookUp(key string) (entry *staleEntry[V], found bool, generation int64) {
	if c.generation != nil {
		generation = c.generation()
	}
	entry, found = c.entries.GetIfPresent(key)
	return entry, found && entry.generation == generation, generation
}

// refresh reads the value.
func (c *staleCache[V]) refresh(ctx context.Context, key string, may readPermit) (*V, error) {
	entry, found, generation := c.lookUp(key)
	if found && time.Now().UnixNano() < entry.freshUntil.Load() {
		return entry.value, nil // another read has finished since
	}
	after, err := may(ctx)
	if err != nil {
		if found {
			return entry.value, nil
		}
		return nil, err
	}
	value, worked, err := c.read(ctx, key)
	after(worked)
	until := time.Now().Add(c.freshFor).UnixNano()
	if err != nil && !found {
		return nil, err
	}
	if err != nil || found && c.equal(*entry.value, value) {
		if err != nil {
			c.onStale(err)
		}
		entry.failed.Store(err != nil)
		entry.freshUntil.Store(until)
		return entry.value, nil
	}
	fresh := &staleEntry[V]{value: &value, generation: generation}
	fresh.freshUntil.Store(until)
	c.entries.Set(key, fresh)
	return fresh.value, nil
}
