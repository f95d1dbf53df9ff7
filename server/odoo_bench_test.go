package server_test

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/server"
	"shelfcast/testkit"
)

// BenchmarkOdooFanOut measures the time from a PATCH on one instance until all clients
// of Odoo's bus on the other are notified: medians over the edits for the median and
// the last client, and the overall maximum. The clients run in this process, on the
// same processors. A real Odoo 16 on two such processors takes 0.9 and 1.5 s for 800
// clients, and 2.4–3.1 and 5.1–5.5 s for 2,500.
func BenchmarkOdooFanOut(b *testing.B) {
	for _, clients := range []int{800, 2500} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			f := startFleet(b, func(s *server.Settings) { once(s); s.MaxPerAddress, s.JoinRate = 0, 100_000 })
			lamp := f.product(b, "lamp")
			heard := make(chan time.Time, clients)
			for range clients {
				s := odooAt(b, f.instances[1].PublicAddr())
				s.conn.SetDeadline(time.Time{})
				s.subscribe(0, "product_updates")
				go func() {
					for {
						h, err := ws.ReadHeader(s.r)
						if err != nil {
							return
						}
						payload := make([]byte, h.Length)
						if _, err := io.ReadFull(s.r, payload); err != nil {
							return
						}
						if h.OpCode == ws.OpText && bytes.Contains(payload, []byte("product_tmpl_id")) {
							heard <- time.Now()
						}
					}
				}()
			}
			for range clients { // each is notified of the new lamp
				<-heard
			}
			testkit.Eventually(b, "all are there", func() bool { return f.instances[1].Sessions() == clients })
			var middle, last []time.Duration
			for b.Loop() {
				began := time.Now()
				lamp = f.edit(b, 0, lamp.Rev, fmt.Sprintf(`{"stock":%d}`, lamp.Stock+1))
				var took []time.Duration
				for range clients {
					took = append(took, (<-heard).Sub(began))
				}
				slices.Sort(took)
				middle, last = append(middle, took[clients/2]), append(last, took[clients-1])
			}
			slices.Sort(middle)
			slices.Sort(last)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(middle[len(middle)/2]), "ms-p50")
			b.ReportMetric(ms(last[len(last)/2]), "ms-last")
			b.ReportMetric(ms(last[len(last)-1]), "ms-worst")
			b.ReportMetric(0, "ns/op")
		})
	}
}
