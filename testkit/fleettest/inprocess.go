package fleettest

import (
	"context"
	"sync"
	"testing"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

// DB opens the store on that database and migrates it. It is closed at the end of the
// test.
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

// Run runs an instance in the test's own process, and waits until it is ready. stop, or
// the end of the test, stops it and waits for its end. The test fails if it ends with an
// error.
func Run(t testing.TB, s server.Settings, o server.Options) (i *server.Instance, stop func()) {
	t.Helper()
	i, err := server.New(t.Context(), s, o)
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
	testkit.Eventually(t, "the instance is ready", func() bool { return ready() == nil })
	return i, stop
}
