package realtime

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"time"

	"shelfcast/store"
)

var (
	// errAgain: something could not be had; flush is to be called again later.
	errAgain = errors.New("the rest could not be had now")
	// errLast: the close frame has been sent.
	errLast = errors.New("closed by a frame")
)

// flush writes what there is to write until there is nothing. One flush at a
// time. It returns errAgain, errLast or what keeps the connection from being
// written.
func (s *session) flush(ctx context.Context) error {
	for {
		s.mu.Lock()
		asks, dirty, control, last := s.asks, s.dirty, slices.Concat(s.pong, s.echo, s.control), s.closing
		s.asks, s.dirty, s.control, s.pong, s.echo = nil, nil, nil, nil, nil
		s.mu.Unlock()
		if len(asks)+len(dirty)+len(control) == 0 {
			return nil
		}
		var out net.Buffers
		if len(control) > 0 {
			out = append(out, control)
		}
		if last {
			s.conn.SetWriteDeadline(time.Now().Add(s.hub.cfg.CloseTimeout))
			if err := s.write(out); err != nil {
				return err
			}
			return errLast
		}
		unasked := s.ask(ctx, asks)
		deliveries, unmet := s.gather(ctx, dirty)
		if err := s.write(appendFrames(out, s.mode, deliveries)); err != nil {
			return err
		}
		s.delivered(deliveries)
		if unasked != nil || unmet != nil {
			s.putBack(unasked, unmet)
			return errAgain
		}
	}
}

// ask compares what the page shows with what is current, and marks what
// differs. What could not be asked comes back.
func (s *session) ask(ctx context.Context, asks targets) (unasked targets) {
	if len(asks) == 0 {
		return nil
	}
	shown := make([]store.Rev, 0, len(asks))
	s.mu.Lock()
	for t := range asks {
		if version, watched := s.shows[t]; watched {
			shown = append(shown, store.Rev{ID: t.id, Version: version})
		}
	}
	s.mu.Unlock()
	current, err := s.hub.fragments.Current(ctx, shown)
	if err != nil {
		s.hub.metrics.unanswered.Inc()
		return asks
	}
	exists := make(map[int64]bool, len(current))
	for _, r := range current {
		exists[r.ID] = true
		s.settle(r)
	}
	for _, r := range shown {
		if !exists[r.ID] {
			exists[r.ID] = true // said once
			s.refuse(&refusal{Code: "unknown_product", Message: "there is no such product", ID: r.ID})
		}
	}
	return nil
}

// gather has a delivery for each change that the page does not show yet. What
// could not be had comes back.
func (s *session) gather(ctx context.Context, dirty map[target]change) (all []delivery, unmet map[target]change) {
	for t, c := range dirty {
		d := delivery{target: t, version: c.version, reset: c.reset}
		if s.mode == Full {
			f, err := s.hub.fragments.Fragment(ctx, t.view, store.Rev{ID: t.id, Version: c.version})
			if errors.Is(err, store.ErrNotFound) {
				s.hub.metrics.vanished.Inc()
				continue
			}
			if err != nil {
				s.hub.metrics.unanswered.Inc()
				if unmet == nil {
					unmet = map[target]change{}
				}
				unmet[t] = c
				continue
			}
			d.version, d.fragment = f.Version, f
		}
		s.mu.Lock()
		shown, watched := s.shows[t]
		s.mu.Unlock()
		if watched && (d.version > shown || d.reset) {
			all = append(all, d)
		}
	}
	return all, unmet
}

// write sends the buffers. A browser that reads slowly holds up this session's
// next flush, and nobody else.
func (s *session) write(out net.Buffers) error {
	if len(out) == 0 {
		return nil
	}
	s.writing.Store(true)
	defer s.writing.Store(false)
	n, err := out.WriteTo(s.conn)
	s.hub.metrics.bytes.Add(float64(n))
	return err
}

func (s *session) delivered(all []delivery) {
	if len(all) == 0 {
		return
	}
	s.hub.metrics.deliveries.Add(float64(len(all)))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range all {
		if _, watched := s.shows[d.target]; watched {
			s.shows[d.target] = d.version
		}
	}
}

// putBack folds in again what a flush had taken and could not send.
func (s *session) putBack(asks targets, dirty map[target]change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asks == nil {
		s.asks = asks
	} else {
		maps.Copy(s.asks, asks)
	}
	for t, c := range dirty {
		if _, watched := s.shows[t]; watched {
			now := s.dirty[t]
			s.mark(t, change{max(c.version, now.version), c.reset || now.reset})
		}
	}
}
