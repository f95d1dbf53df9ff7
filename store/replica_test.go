package store_test

import (
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/store"
	"shelfcast/testkit"
)

// A replica is read if it has what is wanted. One that is behind, is gone or
// hangs changes nothing of what is answered.
func TestReplicaIsReadOnlyIfNewEnough(t *testing.T) {
	t.Parallel()
	primary, replica := testkit.StartMySQLPair(t)
	dsn := primary.Database(t)
	_, name, _ := strings.Cut(dsn, "/")
	metrics := prometheus.NewRegistry()
	db, err := store.Open(dsn, store.Config{Replica: replica.DSN(name),
		ReplicaTimeout: 200 * time.Millisecond, Timeout: time.Second, Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ctx := t.Context()
	if _, err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	lamp, mug := create(t, db, "lamp"), create(t, db, "mug")
	reads := func(result string) (n float64) {
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			for _, m := range family.GetMetric() {
				if family.GetName() == "shelfcast_replica_reads_total" && m.GetLabel()[0].GetValue() == result {
					n = m.GetCounter().GetValue()
				}
			}
		}
		return n
	}
	// shown reads what is wanted, which is at that version, and says whether
	// that came from the replica.
	shown := func(want, is store.Rev) bool {
		t.Helper()
		used := reads("used")
		if p, err := db.ProductAtLeast(ctx, want); err != nil || p.Rev != is {
			t.Errorf("wanted %v: %v, %v; want %v", want, p.Rev, err, is)
		}
		return reads("used") > used
	}
	unknown := func() {
		t.Helper()
		if _, err := db.ProductAtLeast(ctx, store.Rev{ID: 999}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an unknown product: %v", err)
		}
	}
	for _, p := range []store.Product{lamp, mug} {
		testkit.Eventually(t, "the replica has it", func() bool { return shown(p.Rev, p.Rev) })
	}
	unknown()

	replica.Exec("STOP REPLICA SQL_THREAD")
	edited, err := db.Update(ctx, lamp.Rev, store.Edit{Stock: ptr(int64(99))})
	if err != nil {
		t.Fatal(err)
	}
	cup := create(t, db, "cup")
	behind := reads("behind") // it may have been so before it had the lamp
	for _, want := range []store.Rev{edited.Rev, {ID: lamp.ID}, cup.Rev, {ID: cup.ID}} {
		is := edited.Rev
		if want.ID == cup.ID {
			is = cup.Rev
		}
		if shown(want, is) {
			t.Errorf("%v came from a replica that is behind", want)
		}
	}
	if n := reads("behind") - behind; n != 4 {
		t.Errorf("%v times behind, want 4", n)
	}
	if !shown(mug.Rev, mug.Rev) || !shown(store.Rev{ID: mug.ID}, mug.Rev) {
		t.Error("what has not changed is to come from the replica")
	}
	replica.Exec("START REPLICA SQL_THREAD")
	for _, r := range []store.Rev{edited.Rev, cup.Rev} {
		testkit.Eventually(t, "the replica has caught up", func() bool { return shown(r, r) })
	}

	for name, fault := range map[string]struct{ begin, end func() }{
		"hangs":   {replica.Pause, replica.Resume},
		"is gone": {replica.Kill, replica.Start},
	} {
		fault.begin()
		for range 5 {
			for _, r := range []store.Rev{edited.Rev, mug.Rev} {
				if shown(r, r) || shown(store.Rev{ID: r.ID}, r) {
					t.Errorf("%s: it was read all the same", name)
				}
			}
		}
		unknown()
		fault.end()
		testkit.Eventually(t, name+": it is used again", func() bool { return shown(mug.Rev, mug.Rev) })
	}

	primary.Kill()
	if !shown(edited.Rev, edited.Rev) {
		t.Error("without the primary the replica still has what is known to be current")
	}
	if _, err := db.ProductAtLeast(ctx, store.Rev{ID: mug.ID}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without the primary nobody knows what is current: %v", err)
	}
}

func TestMySQLSpeaksTLS(t *testing.T) {
	t.Parallel()
	server, ca := testkit.StartMySQLTLS(t)
	dsn := server.Database(t)
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(ca)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	others, _, _ := testkit.Certificates(t)
	pem, err = os.ReadFile(others)
	strangers := x509.NewCertPool()
	if err != nil || !strangers.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg  store.Config
		dsn  string
		fine bool
	}{
		"its authority":      {store.Config{Roots: roots}, dsn, true},
		"another authority":  {store.Config{Roots: strangers}, dsn, false},
		"no TLS":             {store.Config{}, dsn, false},
		"as the DSN says":    {store.Config{}, dsn + "?tls=skip-verify", true},
		"the system's roots": {store.Config{}, dsn + "?tls=true", false},
	} {
		db, err := store.Open(c.dsn, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Clock(t.Context()); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
		db.Close()
	}
}
