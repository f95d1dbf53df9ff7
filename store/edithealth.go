package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// logPause is the time after a recovery in which failures are not logged again: a flapping
// database would fill the log.
const logPause = 10 * time.Second

// editHealth logs when edits begin to fail and when they succeed again. Its methods may be
// called concurrently.
type editHealth struct {
	log *slog.Logger

	mu     sync.Mutex
	began  time.Time // when edits began to fail; zero: they work
	worked time.Time // when a recovery was logged last
	failed int       // since they began to fail
}

// observe records how a write ended. It logs the first failure, and the first success after
// it. Conflicts over the same rows do not count.
func (e *editHealth) observe(ctx context.Context, name string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	switch {
	case err == nil && !e.began.IsZero():
		e.log.InfoContext(ctx, "edits work again", "failed_edits", e.failed,
			"after", now.Sub(e.began).Round(time.Millisecond))
		e.began, e.worked, e.failed = time.Time{}, now, 0
	case !errors.Is(err, ErrUnavailable) || contended(err):
	case !e.began.IsZero():
		e.failed++
	case now.Sub(e.worked) > logPause:
		e.began, e.failed = now, 1
		e.log.WarnContext(ctx, "edits are failing: database unavailable or rejecting writes", "operation", name, "error", err)
	}
}
