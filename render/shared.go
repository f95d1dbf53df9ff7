package render

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"shelfcast/store"
	"shelfcast/store/tracing"
)

// keep is how long Redis keeps a fragment, and what is current, after it was
// last written. Nothing is ever invalidated.
const keep = 24 * time.Hour

// shared is what the instances of a fleet share in Redis:
//
//	fragment:<view>:<template hash>:{<id>}:<version>   the JSON of a Fragment
//	current:{<id>}                                     the newest version
//	lease:<view>:<template hash>:{<id>}                who makes the fragment just now
//
// each behind the shop's own prefix (store.Keys). {<id>} is the hash tag of a Cluster.
//
// A value that is late, missing or broken is a miss. A Redis that fails is left
// alone for a moment, so that it costs time once and not at every request.
type shared struct {
	rdb     redis.UniversalClient
	shop    *store.Shop
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[struct{}]
}

func newShared(rdb redis.UniversalClient, shop *store.Shop, timeout time.Duration, changed func(from, to string)) *shared {
	return &shared{
		rdb: rdb, shop: shop, timeout: timeout,
		breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name:          "redis",
			MaxRequests:   1,
			Timeout:       time.Second,
			ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			OnStateChange: func(_ string, from, to gobreaker.State) { changed(from.String(), to.String()) },
			IsSuccessful:  func(err error) bool { return err == nil || errors.Is(err, context.Canceled) },
		}),
	}
}

// do runs commands under the time limit, unless Redis is being left alone or the
// shop's keys are not known yet. A key that is not there is no error here.
func (s *shared) do(ctx context.Context, commands func(context.Context, keys) error) error {
	names, err := s.shop.Keys()
	if err != nil {
		return err
	}
	_, err = s.breaker.Execute(func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		err := commands(ctx, keys{names})
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// keys are those of the shop.
type keys struct{ store.Keys }

func (k keys) fragment(f form, r store.Rev) string {
	return k.Key(fmt.Sprintf("fragment:%s:%s:{%d}:%d", f.view, f.hash, r.ID, r.Version))
}

func (k keys) lease(f form, id int64) string {
	return k.Key(fmt.Sprintf("lease:%s:%s:{%d}", f.view, f.hash, id))
}

func (k keys) current(id int64) string { return k.Key(fmt.Sprintf("current:{%d}", id)) }

// A form is a view as templates of that hash make it.
type form struct {
	view View
	hash string
}

// parse reads what there is under the key of that fragment; nil: it is not what
// we put there.
func (f form) parse(text []byte, r store.Rev) *Fragment {
	fragment, err := parseFragment(text, f.hash)
	if err != nil || fragment.Rev != r || fragment.View != f.view {
		return nil
	}
	return fragment
}

// greatest sets a version and its expiry unless there is a greater one. Both
// are compared as text, longer or later in order being greater: Lua's numbers
// are floats.
var greatest = redis.NewScript(`
local had = redis.call('GET', KEYS[1])
if not had or #had < #ARGV[1] or (#had == #ARGV[1] and had < ARGV[1]) then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return 1
end
return 0`)

// release deletes a lease, if it is still the holder's.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`)

// SetCurrent adds to a pipeline that r is, or was, a current version. Eval and
// not EvalSha: within a pipeline there is no second try when the script is new
// to the server.
func SetCurrent(ctx context.Context, pipe redis.Pipeliner, shop store.Keys, r store.Rev) {
	greatest.Eval(ctx, pipe, []string{keys{shop}.current(r.ID)}, r.Version, keep.Milliseconds())
}

// find looks for the fragment of the version wanted, or of the current one if
// that is newer. nil: it is not there.
func (s *shared) find(ctx context.Context, form form, want store.Rev) (*Fragment, error) {
	ctx, span := tracing.Start(ctx, "redis find")
	defer span.End()
	var version, encoded *redis.StringCmd
	err := s.do(ctx, func(ctx context.Context, of keys) error {
		pipe := s.rdb.Pipeline()
		version = pipe.Get(ctx, of.current(want.ID))
		if want.Version > 0 {
			encoded = pipe.Get(ctx, of.fragment(form, want))
		}
		_, err := pipe.Exec(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	if newest, _ := strconv.ParseInt(version.Val(), 10, 64); newest > want.Version {
		want.Version = newest
		err = s.do(ctx, func(ctx context.Context, of keys) error {
			encoded = s.rdb.Get(ctx, of.fragment(form, want))
			return encoded.Err()
		})
	}
	if err != nil || encoded == nil || encoded.Err() != nil {
		return nil, err
	}
	text, _ := encoded.Bytes()
	return form.parse(text, want), nil
}

// put shares a fragment and that its version is current.
func (s *shared) put(ctx context.Context, f *Fragment) error {
	ctx, span := tracing.Start(ctx, "redis put")
	defer span.End()
	return s.do(ctx, func(ctx context.Context, of keys) error {
		pipe := s.rdb.Pipeline()
		pipe.Set(ctx, of.fragment(f.form(), f.Rev), f.JSON(), keep)
		SetCurrent(ctx, pipe, of.Keys, f.Rev)
		_, err := pipe.Exec(ctx)
		return err
	})
}

// forget sets back what is current to what the database has.
func (s *shared) forget(ctx context.Context, r store.Rev) {
	_ = s.do(ctx, func(ctx context.Context, of keys) error { // else the next reader does it
		return s.rdb.Set(ctx, of.current(r.ID), r.Version, keep).Err()
	})
}

// forgetAll deletes what is current of all products. It is not under the time
// limit of a round trip: there may be many, and it is done once in years.
func (s *shared) forgetAll(ctx context.Context) error {
	names, err := s.shop.Keys()
	if err != nil {
		return err
	}
	all := names.Key("current:{*}")
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			return deleteAll(ctx, master, all)
		})
	}
	return deleteAll(ctx, s.rdb, all)
}

func deleteAll(ctx context.Context, rdb redis.Cmdable, pattern string) error {
	const some = 1000
	for cursor := uint64(0); ; {
		keys, next, err := rdb.Scan(ctx, cursor, pattern, some).Result()
		if err != nil {
			return err
		}
		if _, err := rdb.Pipelined(ctx, func(pipe redis.Pipeliner) error { // keys of several slots: one at a time
			for _, key := range keys {
				pipe.Unlink(ctx, key)
			}
			return nil
		}); err != nil {
			return err
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// lease asks to be the one who makes a fragment. With true comes the function
// that gives the lease back; it ends by itself after d.
func (s *shared) lease(ctx context.Context, form form, id int64, d time.Duration) (giveBack func(), ok bool, err error) {
	holder := rand.Text()
	_, span := tracing.Start(ctx, "redis lease")
	defer span.End()
	err = s.do(ctx, func(ctx context.Context, of keys) (err error) {
		ok, err = s.rdb.SetNX(ctx, of.lease(form, id), holder, d).Result()
		return err
	})
	if err != nil || !ok {
		return nil, false, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
		defer cancel()
		_ = s.do(ctx, func(ctx context.Context, of keys) error { // else it ends by itself
			return release.Run(ctx, s.rdb, []string{of.lease(form, id)}, holder).Err()
		})
	}, true, nil
}
