package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"shelfcast/render"
	"shelfcast/store"
)

// still is a link that takes all: what telling costs without the kernel.
type still struct{ connection }

func (still) write([]byte) (taken, room bool, err error) { return true, true, nil }

// hubWith has sessions that watch 20 products each, product 1 among those of
// the first watchers.
func hubWith(b *testing.B, sessions, watchers int) (*Hub, *shop) {
	b.Helper()
	shop := newShop(rev(1, 1))
	h := NewHub(shop, Config{Log: slog.New(slog.DiscardHandler)})
	for n := range sessions {
		s := &session{hub: h, conn: still{}}
		h.table.add(s)
		all := make([]Watch, 20)
		for k := range all {
			all[k] = Watch{rev(int64(10+(n*20+k)%50_000), 0), render.Card}
		}
		if n < watchers {
			all[0].ID = 1
		}
		if refused := s.register(nil, all); refused != nil {
			b.Fatal(refused)
		}
	}
	return h, shop
}

// BenchmarkHubApply is one edit, among 100,000 sessions, of a product that
// nobody watches or that is known already.
func BenchmarkHubApply(b *testing.B) {
	h, _ := hubWith(b, 100_000, 10)
	for name, id := range map[string]int64{"watched=no": 2, "watched=yes": 1} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			version := int64(0)
			if id == 2 {
				version = time.Now().UnixMicro() // an old one would be a late commit
			}
			for b.Loop() {
				if id == 2 {
					version++
				}
				h.Apply(store.Rev{ID: id, Version: version})
			}
		})
	}
}

// BenchmarkHubFlushCycle is the telling of one edit to so many sessions, but for the
// kernel's part.
func BenchmarkHubFlushCycle(b *testing.B) {
	for _, watchers := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			h, shop := hubWith(b, 10_000, watchers)
			b.ReportAllocs()
			version := int64(1)
			for b.Loop() {
				version++
				shop.set(rev(1, version))
				f, err := shop.Fragment(b.Context(), render.Card, rev(1, version))
				if err != nil {
					b.Fatal(err)
				}
				t := h.topics[1][0]
				t.advance(version)
				h.runFlushCycle([]news{newsOf(t, version, f)})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(watchers), "ns/watcher")
		})
	}
}

// BenchmarkDelivery is one edit until it is in the hands of so many browsers,
// over loopback.
func BenchmarkDelivery(b *testing.B) {
	for _, watchers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			s := newShop(rev(1, 1))
			h := NewHub(s, Config{Log: slog.New(slog.DiscardHandler)})
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); h.Run(ctx) }()
			defer func() { cancel(); <-ended }()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			arrived := make(chan struct{}, watchers)
			for range watchers {
				client, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				defer client.Close()
				server, err := l.Accept()
				if err != nil {
					b.Fatal(err)
				}
				if err := h.Adopt(server, Join{}); err != nil {
					b.Fatal(err)
				}
				page := &browser{b, client}
				page.watch(rev(1, 1))
				page.nothing()
				go func() {
					buffer := make([]byte, 4096) // a frame comes in one piece, by loopback
					for {
						if _, err := client.Read(buffer); err != nil {
							return
						}
						arrived <- struct{}{}
					}
				}()
			}
			version := int64(1)
			for b.Loop() {
				version++
				s.set(rev(1, version))
				h.Apply(rev(1, version))
				for range watchers {
					<-arrived
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(watchers), "ns/delivery")
		})
	}
}
