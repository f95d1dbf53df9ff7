package realtime

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// sweeps a second: each session is looked at once a second, and a part of them
// at a time, so that what is done then does not come in bursts.
const sweeps = 10

// Run keeps the sessions alive, and closes those whose browser is gone, until
// ctx ends. Then it closes what Drain has left and waits for it.
func (h *Hub) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second / sweeps)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-tick.C:
			h.sweep(time.Now(), turn%sweeps)
			h.again.due(h, time.Now())
			h.batch.due(time.Now())
			h.channel.due(h, time.Now())
			h.swept.Store(time.Now().UnixNano())
		case <-ctx.Done():
			h.end()
			return nil
		}
	}
}

// stuck is how long after the last sweep a hub is taken for dead.
const stuck = 30 * time.Second

// ErrStuck: the sessions have not been looked after for half a minute, though it
// is done several times a second. It does not mend itself.
var ErrStuck = errors.New("the sessions are not looked after any more")

// Alive is nil, or ErrStuck.
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
		s.endFor(endRestart)
	}
	if pollers != nil {
		pollers.close()
	}
	h.life.Lock()
	h.ended = true
	h.life.Unlock()
	h.running.Wait()
}

// sweep looks after the sessions of this turn.
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
	h.withWork(func(w *work) {
		for _, s := range sessions {
			if s.lookAfter(now, w) {
				slow++
			}
		}
	})
	h.slow[turn].Store(slow)
}

// lookAfter pings a session that was not heard from for a while, and ends one
// that did not answer. One whose write is blocked is slow, and not gone, as
// long as its machine takes some of it now and then; its time to answer begins
// when it is blocked no more. One that was not read from is, if its budget is back.
func (s *session) lookAfter(now time.Time, w *work) (slow bool) {
	cfg := &s.hub.cfg
	last := s.lastRead.Load()
	silent := now.Sub(time.Unix(0, last))
	s.mu.Lock()
	overdue := s.closing && now.UnixNano() > s.closeBy
	blocked, closing := s.blocked, s.closing
	if (blocked || s.paused) && s.asked() { // the ping, or the answer, has no way yet
		s.pingedAt = now.UnixNano()
	}
	unanswered := s.asked() && now.UnixNano()-s.pingedAt > int64(cfg.Pong)
	// Of a browser that never answers only its machine can tell.
	lost := (blocked || s.wire == EventStream) && !s.closed && s.link.lost()
	stalled := !s.closed && s.link.stalled(now)
	if s.paused && !s.closed && !s.overdrawn(now) {
		s.paused = false
		s.link.resume()
	}
	old := cfg.MaxAge > 0 && now.UnixNano() > s.born+int64(part(cfg.MaxAge, 25, s.id))
	s.mu.Unlock()
	switch {
	case overdue:
		s.drop(endLeft)
	case lost || !blocked && !closing && unanswered:
		s.drop(endSilent)
	case stalled:
		s.drop(endStalled)
	case old && !closing:
		s.last(w, endAged, s.wire.restart())
	case !blocked && !closing && silent >= part(cfg.Ping, 20, s.id^uint64(last)):
		s.ping(w)
	}
	return blocked
}

// part is d less up to so many percent, which is always the same for a seed and
// differs between them: what was begun together does not go on together.
func part(d time.Duration, percent int64, seed uint64) time.Duration {
	const golden = 0x9e3779b97f4a7c15             // spreads neighbouring seeds (Knuth, The Art of Computer Programming 3, 6.4)
	share := float64(seed*golden>>11) / (1 << 53) // from 0 to 1
	return d - time.Duration(float64(d)*float64(percent)/100*share)
}

// again has what could not be had and is to be tried again.
type again struct {
	mu       sync.Mutex
	topics   map[*topic]struct{}
	sessions map[*session]struct{}
	at       time.Time // when
}

func (a *again) topic(t *topic) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.topics == nil {
		a.topics = map[*topic]struct{}{}
	}
	a.topics[t] = struct{}{}
}

func (a *again) session(all []*session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sessions == nil {
		a.sessions = map[*session]struct{}{}
	}
	for _, s := range all {
		a.sessions[s] = struct{}{}
	}
}

// due tries again what has waited for a while.
func (a *again) due(h *Hub, now time.Time) {
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
		h.bulk.add(wanted...)
	}
	h.ask(slices.Collect(maps.Keys(sessions))...)
}

// Drain admits no more sessions and closes those that there are with 1012
// (service restart), spread over the time given, while deliveries go on. It
// returns when all are gone or ctx ends.
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
		h.withWork(func(w *work) { s.last(w, endRestart, s.wire.restart()) })
	}
	select {
	case <-h.gone:
	case <-ctx.Done():
	}
}
