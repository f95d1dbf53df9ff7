package render

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// findAll is find for many, in one round trip; in two, if Redis knows of newer
// versions than those that are wanted.
func (s *shared) findAll(ctx context.Context, form form, asks []*ask) error {
	current := make([]*redis.StringCmd, len(asks))
	encoded := make([]*redis.StringCmd, len(asks))
	err := s.pipelined(ctx, func(pipe redis.Pipeliner, of keys) {
		for i, a := range asks {
			current[i] = pipe.Get(ctx, of.current(a.want.ID))
			if a.want.Version > 0 {
				encoded[i] = pipe.Get(ctx, of.fragment(form, a.want))
			}
		}
	})
	if err != nil {
		return err
	}
	var newer []int
	for i, a := range asks {
		if newest, _ := strconv.ParseInt(current[i].Val(), 10, 64); newest > a.want.Version {
			a.want.Version = newest
			newer = append(newer, i)
		} else {
			a.parse(form, encoded[i])
		}
	}
	if len(newer) == 0 {
		return nil
	}
	err = s.pipelined(ctx, func(pipe redis.Pipeliner, of keys) {
		for _, i := range newer {
			encoded[i] = pipe.Get(ctx, of.fragment(form, asks[i].want))
		}
	})
	for _, i := range newer {
		asks[i].parse(form, encoded[i])
	}
	return err
}

// parse takes the fragment, if it is there.
func (a *ask) parse(form form, encoded *redis.StringCmd) {
	if encoded == nil || encoded.Err() != nil {
		return
	}
	text, _ := encoded.Bytes()
	a.got = form.parse(text, a.want)
}

// leaseAll asks to be the one who makes each of them, and looks in the same
// round trip for those that have been put there before.
func (s *shared) leaseAll(ctx context.Context, form form, asks []*ask, d time.Duration) (leased []bool, holder string, err error) {
	holder = rand.Text()
	leases := make([]*redis.BoolCmd, len(asks))
	encoded := make([]*redis.StringCmd, len(asks))
	err = s.pipelined(ctx, func(pipe redis.Pipeliner, of keys) {
		for i, a := range asks {
			leases[i] = pipe.SetNX(ctx, of.lease(form, a.want.ID), holder, d)
			encoded[i] = pipe.Get(ctx, of.fragment(form, a.want))
		}
	})
	if err != nil {
		return nil, "", err
	}
	leased = make([]bool, len(asks))
	for i, a := range asks {
		leased[i] = leases[i].Val()
		a.parse(form, encoded[i])
	}
	return leased, holder, nil
}

// putAll gives the leases of these back, and shares those that were made.
func (s *shared) putAll(ctx context.Context, form form, asks []*ask, made bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	err := s.pipelined(ctx, func(pipe redis.Pipeliner, of keys) {
		for _, a := range asks {
			if made && a.got != nil {
				pipe.Set(ctx, of.fragment(form, a.got.Rev), a.got.JSON(), keep)
				SetCurrent(ctx, pipe, of.Keys, a.got.Rev)
			}
			if a.holder != "" {
				release.Eval(ctx, pipe, []string{of.lease(form, a.want.ID)}, a.holder)
			}
		}
	})
	return err == nil
}

// pipelined sends commands in one round trip (to each node of a Cluster). Of
// those that fail by themselves the others know nothing: each is to be looked at.
func (s *shared) pipelined(ctx context.Context, commands func(redis.Pipeliner, keys)) error {
	return s.do(ctx, func(ctx context.Context, of keys) error {
		pipe := s.rdb.Pipeline()
		commands(pipe, of)
		_, err := pipe.Exec(ctx)
		return err
	})
}
