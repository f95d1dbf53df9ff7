package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

func call(key string) store.IdempotentCall {
	return store.IdempotentCall{Caller: "erp", Key: key, Digest: "sum"}
}

// Two instances are called with the same key at the same moment, again and
// again: one edit is made, and all get its answer.
func TestIdempotentCallRunsOnce(t *testing.T) {
	dsn := testkit.DSN(t)
	instances := []*store.DB{open(t, dsn), open(t, dsn)}
	products := []store.Product{create(t, instances[0], "lamp"), create(t, instances[1], "mug")}
	for _, p := range products {
		var made atomic.Int64
		answers := make([]string, 8)
		var all sync.WaitGroup
		for n := range answers {
			db := instances[n%2]
			all.Go(func() {
				edit := func(ctx context.Context) ([]byte, error) {
					now, err := db.Product(ctx, p.ID)
					if err != nil {
						return nil, err
					}
					edited, err := db.Update(ctx, now.Rev, store.Edit{Stock: ptr(now.Stock + 1)})
					return fmt.Append(nil, edited.Version), err
				}
				answer, before, err := db.RunIdempotent(t.Context(), call("key of "+p.SKU), edit)
				if err != nil {
					t.Error(err)
				}
				if !before {
					made.Add(1)
				}
				answers[n] = string(answer)
			})
		}
		all.Wait()
		now, err := instances[0].Product(t.Context(), p.ID)
		if err != nil || now.Stock != p.Stock+1 || made.Load() != 1 {
			t.Errorf("%s: stock %d, made %d times, %v", p.SKU, now.Stock, made.Load(), err)
		}
		for _, answer := range answers {
			if answer != fmt.Sprint(now.Version) {
				t.Errorf("answers %v, version %d", answers, now.Version)
				break
			}
		}
	}
}

func TestIdempotencyKeyBelongsToCallerAndRequest(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	answer := func(text string) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return []byte(text), nil }
	}
	for _, c := range []struct {
		call store.IdempotentCall
		want string
	}{
		{call("a"), "1"}, {call("a"), "1"}, {call("A"), "3"}, {call("a "), "4"},
		{store.IdempotentCall{Caller: "anna", Key: "a", Digest: "other"}, "5"},
	} {
		got, _, err := db.RunIdempotent(ctx, c.call, answer(c.want))
		if err != nil || string(got) != c.want {
			t.Errorf("%+v: %q, %v; want %q", c.call, got, err, c.want)
		}
	}
	if _, _, err := db.RunIdempotent(ctx, store.IdempotentCall{Caller: "erp", Key: "a", Digest: "other"},
		answer("6")); !errors.Is(err, store.ErrKeyReused) {
		t.Errorf("another call with the key: %v", err)
	}
	if got, before, err := db.StoredResponse(ctx, call("a")); err != nil || !before || string(got) != "1" {
		t.Errorf("%q, %v, %v", got, before, err)
	}
	if _, before, err := db.StoredResponse(ctx, call("new")); err != nil || before {
		t.Errorf("%v, %v", before, err)
	}
}

// What a call that fails has done is taken back. Its answer is kept if it gives
// one; else the call may be tried again.
func TestFailedIdempotentCallIsRolledBack(t *testing.T) {
	db, ctx := open(t, testkit.DSN(t)), t.Context()
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	refused := errors.New("refused")
	runs := 0
	try := func(key string, answer []byte) ([]byte, bool, error) {
		return db.RunIdempotent(ctx, call(key), func(ctx context.Context) ([]byte, error) {
			runs++
			if _, err := db.Update(ctx, lamp.Rev, store.Edit{Stock: ptr(int64(99))}); err != nil {
				return nil, err
			}
			return answer, refused
		})
	}
	for range 2 {
		if _, before, err := try("again", nil); !errors.Is(err, refused) || before {
			t.Errorf("%v, %v", before, err)
		}
	}
	if got, before, err := try("final", []byte("no")); !errors.Is(err, refused) || before || string(got) != "no" {
		t.Errorf("%q, %v, %v", got, before, err)
	}
	if got, before, err := try("final", []byte("no")); err != nil || !before || string(got) != "no" {
		t.Errorf("%q, %v, %v", got, before, err)
	}
	if runs != 3 {
		t.Errorf("it ran %d times", runs)
	}
	for _, p := range []store.Product{lamp, mug} {
		if now, err := db.Product(ctx, p.ID); err != nil || now.Rev != p.Rev || len(said(t, db, p.ID)) != 1 {
			t.Errorf("%s has changed: %v", p.SKU, err)
		}
	}
}

func TestDeleteStoredResponsesDeletesOldOnes(t *testing.T) {
	dsn := testkit.DSN(t)
	db, ctx := open(t, dsn), t.Context()
	for n := range 5 {
		if _, _, err := db.RunIdempotent(ctx, call(fmt.Sprint(n)),
			func(context.Context) ([]byte, error) { return []byte("x"), nil }); err != nil {
			t.Fatal(err)
		}
	}
	plain(t, dsn, "UPDATE answers SET made_at = made_at - INTERVAL 3 DAY WHERE call_key < '3'")
	if n, err := db.DeleteStoredResponses(ctx, 48*time.Hour); err != nil || n != 3 {
		t.Errorf("%d, %v", n, err)
	}
	for key, want := range map[string]bool{"2": false, "3": true} {
		if _, before, err := db.StoredResponse(ctx, call(key)); err != nil || before != want {
			t.Errorf("%s: %v, %v", key, before, err)
		}
	}
}
