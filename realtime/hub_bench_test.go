package realtime

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"shelfcast/render"
	"shelfcast/store"
)

// still is a link that only counts: what Apply costs, without the sessions'
// goroutines and the kernel.
type still struct{ woken int }

func (l *still) wake()  { l.woken++ }
func (l *still) close() {}

// hubWith has sessions that watch 20 products each, product 1 among those of
// the first watchers.
func hubWith(b *testing.B, sessions, watchers int) *Hub {
	b.Helper()
	h := NewHub(newShop(), Config{Log: slog.New(slog.DiscardHandler)})
	for n := range sessions {
		s := &session{hub: h, shows: map[target]int64{}, link: &still{}}
		for k := range 20 {
			id := int64(10 + (n*20+k)%50_000)
			if k == 0 && n < watchers {
				id = 1
			}
			s.shows[target{id, render.Card}] = 0
			h.watch(s, id)
		}
	}
	return h
}

// BenchmarkHubApply is one edit of a product that so many watch.
func BenchmarkHubApply(b *testing.B) {
	for _, watchers := range []int{0, 1, 100, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			h := hubWith(b, 10_000, watchers)
			b.ReportAllocs()
			version := int64(0)
			for b.Loop() {
				version++
				h.Apply(store.Rev{ID: 1, Version: version})
			}
			if watchers > 0 {
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(watchers), "ns/watcher")
			}
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
				if err := h.Adopt(server, Full); err != nil {
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
