package render

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"shelfcast/internal/tracing"
	"shelfcast/store"
)

// shared is what the instances of a fleet share in Redis:
//
//	fragment:<view>:<template hash>:{<id>}:<version>   a Fragment (Fragment.stored)
//	current:{<id>}                                     the newest version (see Versions)
//	lease:<view>:<template hash>:{<id>}                the token of the instance that loads and renders the fragment
//
// each with the shop's prefix (store.Keys). {<id>} is the hash tag of a Cluster.
//
// A value that is late, missing or broken is a miss. If Redis fails, a circuit breaker
// leaves it alone for a second, so that not every request waits for it.
type shared struct {
	rdb      redis.UniversalClient
	shop     *store.Shop
	timeout  time.Duration
	lifetime time.Duration // CacheConfig.RedisLifetime
	breaker  *gobreaker.CircuitBreaker[struct{}]
}

func newShared(rdb redis.UniversalClient, shop *store.Shop, cfg CacheConfig) *shared {
	return &shared{
		rdb: rdb, shop: shop, timeout: cfg.RedisTimeout, lifetime: cfg.RedisLifetime,
		breaker: gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name:        "redis",
			MaxRequests: 1,
			Timeout:     time.Second,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 3 },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				cfg.Log.Warn("the Redis circuit breaker changed", "from", from.String(), "to", to.String())
			},
			IsSuccessful: func(err error) bool { return err == nil || errors.Is(err, context.Canceled) },
		}),
	}
}

// do runs commands within the timeout. It fails at once while the circuit breaker is open,
// or the shop's keys are not known yet. A missing key is not an error.
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

// keys are the Redis keys of the shop.
type keys struct{ store.Keys }

func (k keys) fragment(v variant, r store.Rev) string {
	return k.Key(fmt.Sprintf("fragment:%s:%s:{%d}:%d", v.view, v.hash, r.ID, r.Version))
}

func (k keys) lease(v variant, id int64) string {
	return k.Key(fmt.Sprintf("lease:%s:%s:{%d}", v.view, v.hash, id))
}

func (k keys) current(id int64) string { return k.Key(fmt.Sprintf("current:{%d}", id)) }

// A variant is a view as the set of templates with that hash renders it.
type variant struct {
	view View
	hash string
}

// parse reads the value under the key of that fragment. It returns nil if that is not what
// we stored.
func (v variant) parse(text []byte, r store.Rev) *Fragment {
	fragment, err := parseFragment(text, v.hash)
	if err != nil || fragment.Rev != r || fragment.View != v.view {
		return nil
	}
	return fragment
}

// greatest sets a version and its expiry unless there is a greater one. It compares them as
// text (the longer one is greater), because Lua's numbers are floats.
var greatest = redis.NewScript(`
local had = redis.call('GET', KEYS[1])
if not had or #had < #ARGV[1] or (#had == #ARGV[1] and had < ARGV[1]) then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
	return 1
end
return 0`)

// release deletes a lease if it still has our token.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
	return redis.call('DEL', KEYS[1])
end
return 0`)

// setCurrent adds to a pipeline that r is, or was, a current version. It uses Eval and not
// EvalSha, because a pipeline has no second try if the server does not know the script.
func setCurrent(ctx context.Context, pipe redis.Pipeliner, of keys, r store.Rev, lifetime time.Duration) *redis.Cmd {
	return greatest.Eval(ctx, pipe, []string{of.current(r.ID)}, r.Version, lifetime.Milliseconds())
}

// setCurrent says that these are, or were, current versions. It returns those that Redis did
// not accept, with an error.
func (s *shared) setCurrent(ctx context.Context, revs []store.Rev) (rejected []store.Rev, err error) {
	commands := make([]*redis.Cmd, len(revs)) // nil: not even sent
	err = s.pipelined(ctx, func(ctx context.Context, pipe redis.Pipeliner, of keys) {
		for i, r := range revs {
			commands[i] = setCurrent(ctx, pipe, of, r, s.lifetime)
		}
	})
	for i, r := range revs {
		if commands[i] == nil || commands[i].Err() != nil {
			rejected = append(rejected, r)
		}
	}
	return rejected, err
}

// find looks for the fragments in one round trip, or in two if Redis knows newer
// versions than those that are wanted. With a lease it first tries to become, for so
// long, the one who loads each of them.
func (s *shared) find(ctx context.Context, variant variant, requests []*request, lease time.Duration) error {
	ctx, span := tracing.Start(ctx, "redis find")
	defer span.End()
	var token string
	if lease > 0 {
		token = rand.Text()
	}
	leases := make([]*redis.BoolCmd, len(requests))
	current := make([]*redis.StringCmd, len(requests))
	encoded := make([]*redis.StringCmd, len(requests))
	err := s.pipelined(ctx, func(ctx context.Context, pipe redis.Pipeliner, of keys) {
		for i, r := range requests {
			if lease > 0 {
				leases[i] = pipe.SetNX(ctx, of.lease(variant, r.want.ID), token, lease)
			}
			current[i] = pipe.Get(ctx, of.current(r.want.ID))
			if r.want.Version > 0 {
				encoded[i] = pipe.Get(ctx, of.fragment(variant, r.want))
			}
		}
	})
	if err != nil {
		return err
	}
	var newer []int
	for i, r := range requests {
		if lease > 0 && leases[i].Val() {
			r.lease = token
		}
		if newest, _ := strconv.ParseInt(current[i].Val(), 10, 64); newest > r.want.Version {
			r.want.Version = newest
			newer = append(newer, i)
		} else {
			r.parse(variant, encoded[i])
		}
	}
	if len(newer) == 0 {
		return nil
	}
	err = s.pipelined(ctx, func(ctx context.Context, pipe redis.Pipeliner, of keys) {
		for _, i := range newer {
			encoded[i] = pipe.Get(ctx, of.fragment(variant, requests[i].want))
		}
	})
	for _, i := range newer {
		requests[i].parse(variant, encoded[i])
	}
	return err
}

// parse answers r with a fragment of Redis, if it is there.
func (r *request) parse(variant variant, encoded *redis.StringCmd) {
	if encoded == nil || encoded.Err() != nil {
		return
	}
	text, _ := encoded.Bytes()
	r.fragment = variant.parse(text, r.want)
}

// put shares these fragments and that their versions are current, and gives back the
// leases of requests. It does so also if ctx has ended.
func (s *shared) put(ctx context.Context, variant variant, fragments []*Fragment, requests []*request) error {
	leased := slices.DeleteFunc(slices.Clone(requests), func(r *request) bool { return r.lease == "" })
	if len(fragments)+len(leased) == 0 {
		return nil
	}
	ctx, span := tracing.Start(context.WithoutCancel(ctx), "redis put")
	defer span.End()
	return s.pipelined(ctx, func(ctx context.Context, pipe redis.Pipeliner, of keys) {
		for _, f := range fragments {
			pipe.Set(ctx, of.fragment(variant, f.Rev), f.stored, s.lifetime)
			setCurrent(ctx, pipe, of, f.Rev, s.lifetime)
		}
		for _, r := range leased {
			release.Eval(ctx, pipe, []string{of.lease(variant, r.want.ID)}, r.lease)
			r.lease = ""
		}
	})
}

// release gives the leases of these requests back, if we have any. If that fails, they
// expire.
func (s *shared) release(ctx context.Context, variant variant, requests []*request) {
	_ = s.put(ctx, variant, nil, requests)
}

// pipelined sends commands in one round trip (to each node of a Cluster). Of commands
// that fail by themselves it reports one at most: the caller looks at each.
func (s *shared) pipelined(ctx context.Context, commands func(context.Context, redis.Pipeliner, keys)) error {
	return s.do(ctx, func(ctx context.Context, of keys) error {
		pipe := s.rdb.Pipeline()
		commands(ctx, pipe, of)
		_, err := pipe.Exec(ctx)
		return err
	})
}

// lowerCurrent makes an older version the current one: the database has lost newer ones.
func (s *shared) lowerCurrent(ctx context.Context, r store.Rev) {
	_ = s.do(ctx, func(ctx context.Context, of keys) error { // else the next reader does it
		return s.rdb.Set(ctx, of.current(r.ID), r.Version, s.lifetime).Err()
	})
}

// forgetAll deletes the current versions of all products. It has no timeout: there may be
// many, and it is done once in years.
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
