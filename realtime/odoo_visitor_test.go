package realtime

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/realtime/feed"
)

// A visitor is a browser of an Odoo storefront.
type visitor struct {
	*browser
	last int64 // id that it has had
}

func visit(t testing.TB, h *Hub) *visitor {
	t.Helper()
	server, client := net.Pipe()
	t.Cleanup(func() { client.Close() })
	if err := h.Adopt(server, Join{Protocol: Odoo}); err != nil {
		t.Fatal(err)
	}
	return &visitor{browser: &browser{t, client}}
}

func (v *visitor) text(text string) {
	v.t.Helper()
	if err := wsutil.WriteClientText(v.conn, []byte(text)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *visitor) subscribe(last int64, channels ...string) {
	v.t.Helper()
	list, _ := json.Marshal(append([]string{}, channels...))
	v.text(fmt.Sprintf(`{"event_name":"subscribe","data":{"channels":%s,"last":%d}}`, list, last))
}

// notification is one of Odoo's.
type notification struct {
	ID      int64
	Message struct {
		Type    string
		Payload struct {
			Product int64 `json:"product_tmpl_id"`
			Version int64
		}
	}
}

// told has the next frame, whose ids rise above all before.
func (v *visitor) told() (all []notification) {
	v.t.Helper()
	f := v.frame()
	if f.Header.OpCode != ws.OpText {
		v.t.Fatalf("%v %q", f.Header.OpCode, f.Payload)
	}
	if err := json.Unmarshal(f.Payload, &all); err != nil || len(all) == 0 {
		v.t.Fatalf("%v: %s", err, f.Payload)
	}
	for _, n := range all {
		if n.ID <= v.last || n.ID >= 1<<53 {
			v.t.Errorf("id %d after %d", n.ID, v.last)
		}
		v.last = n.ID
	}
	return all
}

// hears the products of the next frame, in this order.
func (v *visitor) hears(want ...int64) {
	v.t.Helper()
	var got []int64
	for _, n := range v.told() {
		got = append(got, n.Message.Payload.Product)
	}
	if !slices.Equal(got, want) {
		v.t.Errorf("got %v, want %v", got, want)
	}
}

// odooShop has the hub and feed of a shop, in a bubble in which it is not 2000.
func odooShop(t *testing.T, s *shop, again time.Duration) *Hub {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)))
	return odooInstance(t, s, again)
}

// odooInstance is the hub of an instance, and its feed runs.
func odooInstance(t *testing.T, s *shop, again time.Duration) *Hub {
	t.Helper()
	h := quietHub(t, s, Config{Odoo: OdooConfig{Changes: s, RedeliveryDelay: again}})
	f := newFeed(s, h, feed.Config{ReconcileRate: -1})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = f.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return h
}

// ago is a version that was made so long ago.
func ago(d time.Duration) int64 { return time.Now().Add(-d).UnixMicro() }

func inOdoo(t *testing.T, f func(t *testing.T, s *shop, h *Hub)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		h := odooShop(t, s, -1)
		f(t, s, h)
	})
}
