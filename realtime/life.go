package realtime

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"
)

// Run keeps the sessions alive, and closes those whose browser is gone, until
// ctx ends. Then it closes what Drain has left and waits for it.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.sweep(time.Now())
		case <-ctx.Done():
			h.mu.Lock()
			h.draining = true
			for s := range h.sessions {
				s.link.close()
			}
			h.mu.Unlock()
			h.running.Wait()
			return nil
		}
	}
}

// sweep pings the sessions not heard from for a while, and ends those that did
// not answer. A browser with a write under way is slow, and not gone: if it is
// gone, TCP finds out.
func (h *Hub) sweep(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.sessions {
		silent := now.Sub(time.Unix(0, s.lastRead.Load()))
		if s.writing.Load() || silent < h.cfg.Ping*9/10 {
			continue
		}
		if silent > h.cfg.Ping+h.cfg.Pong {
			h.metrics.silent.Inc()
			s.link.close()
			continue
		}
		// From 90 to 100 % of the time, so that pings do not beat together.
		if silent < h.cfg.Ping && rand.N(h.cfg.Ping/10) > time.Second {
			continue
		}
		s.ping()
	}
}

// Drain admits no more sessions and closes those that there are with 1012
// (service restart), spread over the time given, while deliveries go on. It
// returns when all are gone or ctx ends.
func (h *Hub) Drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	open := make([]*session, 0, len(h.sessions))
	for s := range h.sessions {
		open = append(open, s)
	}
	h.mu.Unlock()
	if len(open) == 0 {
		return
	}
	h.log.Info("closing sessions", "sessions", len(open), "over", over)
	start := time.Now()
	for i, s := range open {
		due := start.Add(over * time.Duration(i) / time.Duration(len(open)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return
			}
		}
		s.say(closeFrame(ws.StatusCode(1012), "service restart"), true)
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
	}
}
