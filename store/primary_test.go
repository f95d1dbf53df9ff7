package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/store"
	"shelfcast/testkit"
)

// A pair is a primary and its replica behind one address, and a shop there whose
// user may not write to a server that only reads.
type pair struct {
	primary, replica *testkit.MySQLServer
	address          *testkit.Switch
	dsn              string
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{}
	p.primary, p.replica = testkit.StartMySQLPair(t)
	dsn := p.primary.Database(t)
	open(t, dsn)
	_, name, _ := strings.Cut(dsn, "/")
	p.primary.Exec("CREATE USER shop IDENTIFIED BY 'secret'")
	p.primary.Exec("GRANT SELECT, INSERT, UPDATE, DELETE ON " + name + ".* TO shop")
	p.address = testkit.NewSwitch(t, p.primary.Addr())
	p.dsn = fmt.Sprintf("shop:secret@tcp(%s)/%s", p.address.Addr, name)
	return p
}

func (p *pair) switchover(t *testing.T) {
	t.Helper()
	testkit.Switchover(t, p.primary, p.replica)
}

// An instance is a store with what it logs and counts.
type instance struct {
	*store.DB
	log     *record
	metrics *prometheus.Registry
}

// A record is a log that may be read while it is written.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// count is how many lines have the text.
func (r *record) count(text string) int {
	return strings.Count(r.String(), text)
}

func instanceOf(t *testing.T, dsn string) *instance {
	t.Helper()
	i := &instance{log: &record{}, metrics: prometheus.NewRegistry()}
	db, err := store.Open(dsn, store.Config{Metrics: i.metrics, Log: slog.New(slog.NewTextHandler(i.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	i.DB = db
	return i
}

// value is the sum of a metric's series that have the label.
func (i *instance) value(t *testing.T, name, label string) (sum float64) {
	t.Helper()
	families, err := i.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() != name || label != "" && m.GetLabel()[0].GetValue() != label {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// busy has many connections of the instance read the product until the test ends,
// so that some of them are idle and some are not at any time.
func busy(t *testing.T, i *instance, id int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	warm := make(chan struct{}, 8)
	for range cap(warm) {
		readers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := i.Product(ctx, id); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				if n == 20 {
					warm <- struct{}{}
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); readers.Wait() })
	for range cap(warm) {
		<-warm
	}
}

// The old primary stays up and answers, and its connections stay open: the edit
// that comes next is made on the new one, and an instance that only reads has it
// with the next read of the clock, on each of its connections.
func TestSwitchoverMovesAllConnections(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	writer, reader := instanceOf(t, p.dsn), instanceOf(t, p.dsn)
	ctx := t.Context()
	lamp, mug := create(t, writer.DB, "lamp"), create(t, writer.DB, "mug")
	busy(t, writer, mug.ID)
	busy(t, reader, lamp.ID)
	clock := func(i *instance) {
		t.Helper()
		if _, err := i.Clock(ctx); err != nil {
			t.Fatal(err)
		}
	}
	clock(writer)
	clock(reader)

	p.switchover(t)
	p.address.SetTarget(p.replica.Addr())
	for n := range 20 {
		edited, err := writer.Update(ctx, lamp.Rev, store.Edit{Stock: ptr(int64(100 + n))})
		if err != nil {
			t.Fatalf("edit %d after the switchover: %v", n, err)
		}
		lamp = edited
		clock(reader)
		for range 50 {
			if read, err := reader.Product(ctx, lamp.ID); err != nil || read.Rev != lamp.Rev {
				t.Fatalf("after edit %d the reader has %v, %v; want %v", n, read.Rev, err, lamp.Rev)
			}
		}
	}
	if n := writer.value(t, "shelfcast_store_server_errors_total", "1290"); n == 0 {
		t.Error("the refusal was not counted")
	}
	for name, i := range map[string]*instance{"writer": writer, "reader": reader} {
		if n := i.value(t, "shelfcast_store_reconnects_total", ""); n == 0 || n > 2 {
			t.Errorf("the %s dialled anew %v times", name, n)
		}
		if err := i.CheckPrimary(); err != nil {
			t.Errorf("the %s: %v", name, err)
		}
	}
}

// The address leads to the old primary for a while: edits are refused, reads go
// on, health and the log say so, once, and that it is over.
func TestReadOnlyServerIsReadAndReported(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	i := instanceOf(t, p.dsn)
	ctx := t.Context()
	lamp := create(t, i.DB, "lamp")
	busy(t, i, lamp.ID)
	if _, err := i.Clock(ctx); err != nil || i.CheckPrimary() != nil || i.value(t, "shelfcast_store_primary", "") != 1 {
		t.Fatal(err, i.CheckPrimary())
	}
	p.switchover(t)
	for n := range 200 {
		if _, err := i.Update(ctx, lamp.Rev, store.Edit{Stock: ptr(int64(100 + n))}); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("an edit on a server that only reads: %v", err)
		}
		if _, err := i.Clock(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.CheckPrimary(); !errors.Is(err, store.ErrNotPrimary) {
		t.Errorf("health: %v", err)
	}
	if n := i.value(t, "shelfcast_store_primary", ""); n != 0 {
		t.Errorf("the gauge is %v", n)
	}
	if n := i.value(t, "shelfcast_store_reconnects_total", ""); n > 10 {
		t.Errorf("dialled anew %v times in a few seconds", n)
	}
	p.address.SetTarget(p.replica.Addr())
	testkit.Eventually(t, "edits work again", func() bool {
		if _, err := i.Clock(ctx); err != nil {
			t.Fatal(err)
		}
		edited, err := i.Update(ctx, lamp.Rev, store.Edit{Stock: ptr(int64(1000))})
		if err == nil {
			lamp = edited
		}
		return err == nil
	})
	testkit.Eventually(t, "health is fine",
		func() bool { _, err := i.Clock(ctx); return err == nil && i.CheckPrimary() == nil })
	for _, line := range []string{"edits are failing", "edits work again",
		"the server is not the primary", "the primary is reachable again"} {
		if n := i.log.count(line); n != 1 {
			t.Errorf("the log has %d lines of %q, want 1", n, line)
		}
	}
	if read, err := i.Product(ctx, lamp.ID); err != nil || read.Rev != lamp.Rev {
		t.Errorf("read %v, %v; want %v", read.Rev, err, lamp.Rev)
	}
}
