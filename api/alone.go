package api

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// manyKeys bounds what an instance counts by itself: some 300 bytes each.
const manyKeys = 10_000

// alone counts the calls of this instance only. Of too many keys it forgets
// those first that took a call longest ago.
type alone struct {
	mu     sync.Mutex
	byKey  map[rated]*list.Element
	latest *list.List // of *counted, the latest in front
}

// rated is a key under a rate.
type rated struct {
	Rate
	key string
}

type counted struct {
	rated
	calls *rate.Limiter
}

func newAlone() *alone { return &alone{byKey: make(map[rated]*list.Element), latest: list.New()} }

// ask is quota, without Redis.
func (a *alone) ask(r Rate, key string, take int) Allowance {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	calls := a.of(rated{r, key}, take > 0)
	ok := true
	if take > 0 {
		ok = calls.AllowN(now, take)
	}
	left := calls.TokensAt(now)
	span := func(calls float64) time.Duration { return max(time.Duration(calls*float64(r.each())), 0) }
	out := Allowance{OK: ok, Remaining: max(int(left), 0), Reset: span(float64(r.Calls) - left)}
	if take == 0 {
		out.OK = span(1-left) == 0
	}
	if !out.OK {
		out.Retry = span(1 - left)
	}
	return out
}

// of has the calls of a key, and keeps them if told to. mu must be held.
func (a *alone) of(k rated, keep bool) *rate.Limiter {
	if e, ok := a.byKey[k]; ok {
		if keep {
			a.latest.MoveToFront(e)
		}
		return e.Value.(*counted).calls
	}
	calls := rate.NewLimiter(rate.Every(k.each()), k.Calls)
	if keep {
		a.byKey[k] = a.latest.PushFront(&counted{k, calls})
		if a.latest.Len() > manyKeys {
			delete(a.byKey, a.latest.Remove(a.latest.Back()).(*counted).rated)
		}
	}
	return calls
}
