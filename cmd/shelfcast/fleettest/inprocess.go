package fleettest

import (
	"context"
	"sync"
	"testing"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

// DB is the store of an empty shop on that database, until the test ends.
func DB(t testing.TB, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(dsn, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

// Run runs an instance in the test's own process, and waits until it is ready.
// stop ends it, and waits for that; the end of the test does too. The test fails
// if it ends with an error.
func Run(t testing.TB, s serve.Settings, o serve.Options) (i *serve.Instance, stop func()) {
	t.Helper()
	i, err := serve.New(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("an instance ended with %v", err)
		}
	})
	t.Cleanup(stop)
	ready := Answers("http://" + i.AdminAddr() + "/readyz")
	storetest.Eventually(t, "the instance is ready", func() bool { return ready() == nil })
	return i, stop
}
