package store_test

import (
	"strings"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
)

// On Galera a read has what any node has committed before, and what ran on another node is said not to be seen.
func TestGaleraReadSeesCommitsOfOtherNodes(t *testing.T) {
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
