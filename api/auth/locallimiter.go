package auth

import (
	"container/list"
	"sync"
	"time"
)

// maxLocalKeys is how many keys an instance counts by itself, at some 300 bytes each.
const maxLocalKeys = 10_000

// A localLimiter counts the calls of this instance only, while Redis does not answer. If there are too many keys, it
// evicts the least recently used ones.
type localLimiter struct {
	mu     sync.Mutex
	byKey  map[rateKey]*list.Element
	recent *list.List // of *bucket, the most recently used first
}

// A rateKey is a key of a rate.
type rateKey struct {
	Rate
	key string
}

type bucket struct {
	rateKey
	fullAt time.Time // when all of the key's calls are back
}

func newLocalLimiter() *localLimiter {
	return &localLimiter{byKey: make(map[rateKey]*list.Element), recent: list.New()}
}

// take does what takeScript does in Redis.
func (a *localLimiter) take(r Rate, key string, n int) Allowance {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all, cost := time.Now(), r.interval()*time.Duration(r.Calls), r.interval()*time.Duration(n)
	c := a.bucket(rateKey{r, key})
	if c.fullAt.Before(now) {
		c.fullAt = now
	}
	out := Allowance{OK: true, local: true}
	if retry := c.fullAt.Add(cost).Sub(now.Add(all)); retry > 0 {
		out.OK, out.Retry = false, retry
	} else {
		c.fullAt = c.fullAt.Add(cost)
	}
	out.Reset = c.fullAt.Sub(now)
	out.Remaining = int((all - out.Reset) / r.interval())
	return out
}

// giveBack gives back n calls that were taken. A moment in the past counts as now: see take.
func (a *localLimiter) giveBack(r Rate, key string, n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.byKey[rateKey{r, key}]; ok {
		c := e.Value.(*bucket)
		c.fullAt = c.fullAt.Add(-r.interval() * time.Duration(n))
	}
}

// bucket returns the count of a key, and creates it if there is none. mu must be held.
func (a *localLimiter) bucket(k rateKey) *bucket {
	if e, ok := a.byKey[k]; ok {
		a.recent.MoveToFront(e)
		return e.Value.(*bucket)
	}
	c := &bucket{rateKey: k}
	a.byKey[k] = a.recent.PushFront(c)
	if a.recent.Len() > maxLocalKeys {
		delete(a.byKey, a.recent.Remove(a.recent.Back()).(*bucket).rateKey)
	}
	return c
}
