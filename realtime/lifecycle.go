package realtime

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// sweeps is how many times a second the hub looks at sessions: at each session once a
// second, and at a tenth of them at a time, so that the work does not come in bursts.
const sweeps = 10

// Run keeps sessions alive and closes those whose browser is gone. It blocks until ctx ends;
// then it closes the sessions that Drain has left, and waits for the hub's goroutines.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second / sweeps)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-tick.C:
			h.sweep(time.Now(), turn%sweeps)
			h.retries.runDue(h, time.Now())
			h.batch.due(time.Now())
			h.firehose.runDue(h, time.Now())
			h.swept.Store(time.Now().UnixNano())
		case <-ctx.Done():
			h.end()
			return nil
		}
	}
}

// stuck is how long after its last sweep a hub counts as dead.
const stuck = 30 * time.Second

// ErrStuck means that the hub has not checked its sessions for 30 s. It does not
// recover by itself.
var ErrStuck = errors.New("the hub is stuck: sessions have not been checked for 30s")

// Alive returns nil or ErrStuck.
func (h *Hub) Alive() error {
	if last := h.swept.Load(); last != 0 && time.Since(time.Unix(0, last)) > stuck {
		return ErrStuck
	}
	return nil
}

func (h *Hub) end() {
	h.mu.Lock()
	h.draining = true
	pollers := h.pollers
	var open []*session
	h.table.all(func(s *session) { open = append(open, s) })
	h.mu.Unlock()
	for _, s := range open {
		s.endFor(instanceStops)
	}
	if pollers != nil {
		pollers.close()
	}
	h.life.Lock()
	h.ended = true
	h.life.Unlock()
	h.running.Wait()
}

// sweep maintains the sessions of this turn.
func (h *Hub) sweep(now time.Time, turn int) {
	h.mu.Lock()
	sessions := make([]*session, 0, h.table.used/sweeps+1)
	for at := turn; at < len(h.table.slots); at += sweeps {
		if s := h.table.slots[at].session; s != nil {
			sessions = append(sessions, s)
		}
	}
	h.mu.Unlock()
	slow := int32(0)
	h.withScratch(func(w *scratch) {
		for _, s := range sessions {
			if s.maintain(now, w) {
				slow++
			}
		}
	})
	h.slow[turn].Store(slow)
}

// maintain pings a session that was silent for a while, and ends one that did not answer. A
// session whose write is blocked is slow and not gone, as long as its machine acknowledges
// something now and then; its time to answer begins when it has room again. A paused
// session is read from again when its budget is back. maintain reports whether the session
// is slow.
func (s *session) maintain(now time.Time, w *scratch) (slow bool) {
	cfg := &s.hub.cfg
	last := s.lastRead.Load()
	silent := now.Sub(time.Unix(0, last))
	s.mu.Lock()
	overdue := s.closing && now.UnixNano() > s.closeBy
	blocked, closing := s.blocked, s.closing
	if (blocked || s.paused) && s.pingPending() { // the ping, or the answer, has no way yet
		s.pingedAt = now.UnixNano()
	}
	unanswered := s.pingPending() && now.UnixNano()-s.pingedAt > int64(cfg.Pong)
	// If the browser never answers pings, only its machine's TCP can tell whether it is there.
	_, answers := s.speaks().ping()
	lost := (blocked || !answers) && !s.closed && s.conn.lost()
	stalled := !s.closed && s.conn.stalled(now)
	if s.paused && !s.closed && !s.overdrawn(now) {
		s.paused = false
		s.conn.resume()
	}
	old := cfg.MaxAge > 0 && now.UnixNano() > s.createdAt+int64(jitter(cfg.MaxAge, 25, s.id))
	s.mu.Unlock()
	switch {
	case overdue:
		s.drop(closedByClient)
	case lost || !blocked && !closing && unanswered:
		s.drop(pingTimedOut)
	case stalled:
		s.drop(clientStalled)
	case old && !closing:
		s.sendLast(w, reachedMaxAge, s.speaks().restart())
	case !blocked && !closing && silent >= jitter(cfg.Ping, 20, s.id^uint64(last)):
		s.ping(w)
	}
	return blocked
}

// jitter returns d less up to percent of it. The result depends only on the seed, and
// spreads things that began at the same time.
func jitter(d time.Duration, percent int64, seed uint64) time.Duration {
	const golden = 0x9e3779b97f4a7c15             // spreads neighbouring seeds (Knuth, Art of Computer Programming 3, 6.4)
	share := float64(seed*golden>>11) / (1 << 53) // from 0 to 1
	return d - time.Duration(float64(d)*float64(percent)/100*share)
}

// retryQueue holds topics that could not be loaded and sessions that could not be checked,
// until they are tried again.
type retryQueue struct {
	mu       sync.Mutex
	topics   map[*topic]struct{}
	sessions map[*session]struct{}
	at       time.Time // when
}

func (a *retryQueue) addTopic(t *topic) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.topics == nil {
		a.topics = map[*topic]struct{}{}
	}
	a.topics[t] = struct{}{}
}

func (a *retryQueue) addSessions(all []*session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessions == nil {
		a.sessions = map[*session]struct{}{}
	}
	for _, s := range all {
		a.sessions[s] = struct{}{}
	}
}

// runDue tries again what has waited for Config.Retry.
func (a *retryQueue) runDue(h *Hub, now time.Time) {
	a.mu.Lock()
	if now.Before(a.at) {
		a.mu.Unlock()
		return
	}
	a.at = now.Add(h.cfg.Retry)
	topics, sessions := a.topics, a.sessions
	a.topics, a.sessions = nil, nil
	a.mu.Unlock()
	if wanted := h.batch.retry(topics); len(wanted) > 0 {
		h.batchLoads.add(wanted...)
	}
	h.checkVersions(slices.Collect(maps.Keys(sessions))...)
}

// Drain stops admitting sessions and closes the open ones with 1012 (service restart),
// spread over the given time, while deliveries go on. It returns when all are gone or ctx
// ends.
func (h *Hub) Drain(ctx context.Context, over time.Duration) {
	h.mu.Lock()
	h.draining = true
	open := make([]*session, 0, h.table.used)
	h.table.all(func(s *session) { open = append(open, s) })
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
		h.withScratch(func(w *scratch) { s.sendLast(w, instanceStops, s.speaks().restart()) })
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
	}
}
