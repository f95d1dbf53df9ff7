package realtime

import (
	"testing"
	"testing/synctest"
	"time"
)

// A browser that claims to have had ids of the future is told what there is, and
// changes nothing for another: that one's ids are those of the versions, and when
// it comes back it is told what it missed meanwhile.
func TestOdooForgedLastIDAffectsOnlyItsSession(t *testing.T) {
	for name, ahead := range map[string]time.Duration{
		"just within the clock's slip": clockTolerance - time.Millisecond, "half a minute ahead": 30 * time.Second,
		"a minute ahead": time.Minute - time.Second,
		"an hour ahead":  time.Hour, "at the end of time": time.Until(time.UnixMicro(1<<53 - 1)),
	} {
		t.Run(name, func(t *testing.T) {
			inOdoo(t, func(t *testing.T, s *shop, h *Hub) {
				other := odooInstance(t, s, -1)
				s.set(rev(1, ago(time.Second)))
				liar, honest := visit(t, h), visit(t, h)
				liar.subscribe(ago(-ahead), "product_updates")
				liar.hears(1)
				honest.subscribe(0, "product_updates")
				honest.hears(1)
				synctest.Wait()
				var version int64
				for id := int64(2); id <= 4; id++ {
					time.Sleep(10 * time.Millisecond)
					version = ago(0)
					s.set(rev(id, version))
					h.Apply(rev(id, version))
					liar.hears(id)
					if got := honest.told(); len(got) != 1 || got[0].ID != version {
						t.Errorf("the honest one got %+v, want the id %d", got, version)
					}
				}
				honest.conn.Close()
				time.Sleep(5 * time.Second)
				s.set(rev(5, ago(0))) // while it is away
				time.Sleep(20 * time.Second)
				back := visit(t, other)
				back.last = honest.last
				back.subscribe(honest.last, "product_updates")
				var heard []int64
				for _, n := range back.told() {
					heard = append(heard, n.Message.Payload.Product)
				}
				if len(heard) == 0 || heard[len(heard)-1] != 5 {
					t.Errorf("it came back and heard %v, want 5 among it", heard)
				}
			})
		})
	}
}
