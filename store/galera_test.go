package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

// On Galera a read has what any node has committed before, and what ran on another node is said not to be seen.
func TestGaleraReadSeesCommitsOfOtherNodes(t *testing.T) {
	t.Parallel()
	if testkit.MySQL(t) {
		t.Skip("Galera is MariaDB's")
	}
	first, second := testkit.StartGalera(t)
	dsn := first.Database(t)
	_, name, _ := strings.Cut(dsn, "/")
	a := open(t, dsn)
	b, err := store.Open(second.DSN(name), store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	lamp, mug := create(t, a, "lamp"), create(t, a, "mug")
	behind, took := 0, time.Duration(0)
	const edits = 300
	for n := range int64(edits) {
		if lamp, err = a.Update(t.Context(), lamp.Rev, store.Edit{Stock: ptr(n + 100)}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		has, err := b.Versions(t.Context(), []int64{lamp.ID, mug.ID})
		took += time.Since(began)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range has {
			if r.ID == lamp.ID && r.Version < lamp.Version {
				behind++
			}
		}
	}
	if behind > 0 {
		t.Errorf("%d of %d reads of the other node were behind", behind, edits)
	}
	t.Logf("a read right after an edit elsewhere took %v", took/edits)
	if why, err := b.RemoteWriters(t.Context()); err != nil || !strings.Contains(why, "Galera") {
		t.Errorf("got %q, %v", why, err)
	}
}

// Each of two nodes of Galera is migrated by an instance of its own, both at once. A node that has lost the other one
// refuses everything, which is no fault of the call, and is over when it is told to go on alone.
func TestGaleraNodesMigrateAtOnceAndLoseEachOther(t *testing.T) {
	t.Parallel()
	if testkit.MySQL(t) {
		t.Skip("Galera is MariaDB's")
	}
	first, second := testkit.StartGalera(t)
	var i *instance
	for range 3 {
		_, name, _ := strings.Cut(first.Database(t), "/")
		testkit.Eventually(t, "the other node has the database", func() bool {
			return testkit.SQL(t, second.DSN(name)).Ping() == nil
		})
		other := instanceOf(t, second.DSN(name))
		i = instanceOf(t, first.DSN(name))
		done := make(chan error, 1)
		go func() {
			_, err := other.Migrate(t.Context())
			done <- errors.Join(err, other.InstallTriggers(t.Context()))
		}()
		_, err := i.Migrate(t.Context())
		if err := errors.Join(err, i.InstallTriggers(t.Context()), <-done); err != nil {
			t.Fatal(err)
		}
		for _, node := range []*instance{i, other} {
			if err := node.CheckSchema(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	mug := create(t, i.DB, "mug")
	second.Kill()
	testkit.Eventually(t, "the node refuses, and is connected to anew", func() bool {
		_, err := i.Clock(t.Context())
		if err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("a read: %v", err)
		}
		return errors.Is(i.CheckPrimary(), store.ErrNotPrimary) &&
			i.value(t, "shelfcast_store_reconnects_total", "") > 1
	})
	if _, err := i.Update(t.Context(), mug.Rev, store.Edit{Stock: ptr(int64(1))}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("an edit: %v", err)
	}
	if n := i.value(t, "shelfcast_store_server_errors_total", "1205"); n < 1 {
		t.Error("the errors were not counted")
	}
	first.Exec("SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'")
	testkit.Eventually(t, "the node answers again", func() bool {
		_, err := i.Update(t.Context(), mug.Rev, store.Edit{Stock: ptr(int64(1))})
		_, read := i.Clock(t.Context())
		return err == nil && read == nil && i.CheckPrimary() == nil
	})
}
