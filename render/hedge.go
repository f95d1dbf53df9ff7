package render

import (
	"context"
	"time"
)

// hedgeEvery is how long a load may take before Redis is checked again, and the interval
// from then on. The database node of another instance may be quicker: this one's may hang,
// or wait for replication.
const hedgeEvery = 150 * time.Millisecond

// hedged returns the result of load. If load is slow, it calls found again and again; once
// that returns true, hedged cancels load, waits for its end, and returns that it was
// needless.
func hedged[T any](ctx context.Context, load func(context.Context) (T, error),
	found func() bool) (loaded T, needless bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		loaded, err = load(ctx)
	}()
	again := time.NewTicker(hedgeEvery)
	defer again.Stop()
	for {
		select {
		case <-done:
			return loaded, false, err
		case <-again.C:
			if found() {
				cancel()
				<-done
				return loaded, true, nil
			}
		}
	}
}
