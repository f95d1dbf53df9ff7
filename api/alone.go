package api

import (
	"container/list"
	"sync"
	"time"
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
	back time.Time // when all of the key's calls are back, as quota has it
}

func newAlone() *alone { return &alone{byKey: make(map[rated]*list.Element), latest: list.New()} }

// take is quota, without Redis.
func (a *alone) take(r Rate, key string) Allowance {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), r.each()*time.Duration(r.Calls)
	c := a.of(rated{r, key})
	if c.back.Before(now) {
		c.back = now
	}
	out := Allowance{OK: true, alone: true}
	if retry := c.back.Add(r.each()).Sub(now.Add(all)); retry > 0 {
		out.OK, out.Retry = false, retry
	} else {
		c.back = c.back.Add(r.each())
	}
	out.Reset = c.back.Sub(now)
	out.Remaining = int((all - out.Reset) / r.each())
	return out
}

// giveBack gives back a call that was taken. What lies behind now is as good as
// now: see take.
func (a *alone) giveBack(r Rate, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.byKey[rated{r, key}]; ok {
		c := e.Value.(*counted)
		c.back = c.back.Add(-r.each())
	}
}

// of has what is counted of a key. mu must be held.
func (a *alone) of(k rated) *counted {
	if e, ok := a.byKey[k]; ok {
		a.latest.MoveToFront(e)
		return e.Value.(*counted)
	}
	c := &counted{rated: k}
	a.byKey[k] = a.latest.PushFront(c)
	if a.latest.Len() > manyKeys {
		delete(a.byKey, a.latest.Remove(a.latest.Back()).(*counted).rated)
	}
	return c
}
