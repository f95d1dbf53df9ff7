package httpx

import "sync"

// A Budget limits the memory that an app takes for one purpose, for all callers together and for each of them. Its
// methods may be called concurrently.
type Budget struct {
	limit       int64 // bytes for all callers
	callerLimit int64 // bytes of those for one caller

	mu       sync.Mutex
	reserved int64
	byCaller map[string]int64 // by caller; no entry is 0
}

// NewBudget returns a Budget of limit bytes, of which one caller may take callerLimit.
func NewBudget(limit, callerLimit int64) *Budget {
	return &Budget{limit: limit, callerLimit: callerLimit, byCaller: map[string]int64{}}
}

// Reserve reserves n more bytes for the caller, and reports whether there was room.
func (b *Budget) Reserve(caller string, n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reserved+n > b.limit || b.byCaller[caller]+n > b.callerLimit {
		return false
	}
	b.reserved += n
	b.byCaller[caller] += n
	return true
}

// Held returns how many bytes are reserved, and by how many callers.
func (b *Budget) Held() (bytes int64, callers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reserved, len(b.byCaller)
}

// Release gives back n of the bytes that the caller has reserved.
func (b *Budget) Release(caller string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved -= n
	if b.byCaller[caller] -= n; b.byCaller[caller] == 0 {
		delete(b.byCaller, caller)
	}
}
