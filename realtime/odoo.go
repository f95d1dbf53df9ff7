package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/render"
	"shelfcast/store"
)

// Recents has the products that changed last, newest first. *store.DB is one.
type Recents interface {
	ChangedLast(ctx context.Context, after int64, limit int) ([]store.Recent, error)
}

// OdooConfig says what browsers of an Odoo 16 storefront are told. They speak
// Odoo's bus: they subscribe to channels by name, are told that products have
// changed, of all products, and ask for what they show.
type OdooConfig struct {
	Channel string        // the one that product changes are on; "product_updates"
	View    render.View   // what they ask for, and which therefore is had before they are told; render.Card
	Again   time.Duration // after which a change is told once more, for answers that came from an instance that had not heard, or failed, or were overtaken; 3s; negative: never
	Changes Recents       // what a browser that comes back has missed; required for sessions of the Odoo wire
}

// Close codes that Odoo's client knows: after 4002 it comes back within a second,
// after 1013 and all others but 1000 a little later.
const (
	statusKeepAlive ws.StatusCode = 4002
	statusTryLater  ws.StatusCode = 1013
)

// Limits of the Odoo wire.
const (
	odooMessage   = 1 << 20                       // bytes of a message of a browser
	odooOverlap   = store.Overlap + 2*time.Second // by which a return goes back behind its last id; the feed may have been behind, too
	odooRecent    = 50 * time.Second              // what a browser is told that has no last id
	odooMost      = 1000                          // notifications for a browser that comes back; the newest
	odooFirst     = 1e15                          // below this no id is ours, but a real Odoo's
	odooClockSlip = time.Second                   // by which what we take for the database's clock may be behind it
)

// A follower is what a session of the Odoo wire has in place of the products
// that others watch. Guarded by the session's mu.
type follower struct {
	hears   bool   // it has subscribed to something, or to nothing, and so hears what is broadcast
	follows bool   // it has subscribed to the products
	behind  bool   // what it lacks is to be read from the database
	last    int64  // the greatest id that it has had; 0: none
	since   int64  // the database's clock up to which it has all; 0: nobody has said
	place   uint64 // in the channel's ring: it has had what is before
}

// subscription is an event of a browser.
type subscription struct {
	Event string `json:"event_name"`
	Data  *struct {
		Channels []*string       `json:"channels"`
		Last     json.RawMessage `json:"last"`
	} `json:"data"`
}

// hear takes a message of an Odoo browser. What is not known, or is broken, is
// passed over in silence, as Odoo does: other parts of a shop send theirs.
func (s *session) hear(message []byte, w *work) {
	var said subscription
	if json.Unmarshal(message, &said) != nil || said.Event != "subscribe" || said.Data == nil || said.Data.Channels == nil {
		return
	}
	follows := false
	for _, name := range said.Data.Channels {
		if name == nil {
			return
		}
		follows = follows || *name == s.hub.cfg.Odoo.Channel
	}
	if last, ok := parseLast(string(said.Data.Last)); ok {
		s.subscribe(w, follows, last)
	}
}

// parseLast reads an id that the browser has; one that fits into no integer is
// as good as the greatest.
func parseLast(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "-0123456789") != "" {
		return 0, false
	}
	last, err := strconv.ParseInt(text, 10, 64)
	return last, err == nil || errors.Is(err, strconv.ErrRange)
}

// subscribe has the session follow, or not, from now on: each subscription is in
// place of the one before. The last id never goes back.
func (s *session) subscribe(w *work, follows bool, last int64) {
	c := &s.hub.channel
	if last < odooFirst || last > c.clock()+odooClockSlip.Microseconds() {
		last = 0 // another server's, or made up: what the session lacks is read, as of a first connect
	}
	s.hub.mu.Lock()
	s.mu.Lock()
	f := s.follower
	if s.closed || s.hub.cfg.Odoo.Changes == nil {
		s.mu.Unlock()
		s.hub.mu.Unlock()
		return
	}
	// It is a browser's word, and so of no consequence but for this session.
	f.last, f.since = max(f.last, last), max(f.since, last)
	if !f.hears {
		f.hears, f.place = true, c.end()
		c.follow(s)
	}
	f.behind = follows && (f.behind || !f.follows)
	f.follows = follows
	s.mu.Unlock()
	s.hub.mu.Unlock()
	s.flush(w)
}

// catchUp needs mu held, and sends what there is in the channel's ring after the
// session's place.
func (s *session) catchUp(w *work) error {
	f := s.follower
	for f.hears && s.ready() {
		if f.behind {
			s.askBehind()
			return nil
		}
		next, gone := s.hub.channel.after(f.place, f.follows, f.last)
		if gone {
			f.behind = true
			continue
		}
		if next.frame != nil {
			taken, err := s.write(w, next.frame)
			if err != nil || !taken {
				return err
			}
			s.noteSent(w, next.versions)
			f.last = next.last
			if f.follows {
				f.since = max(f.since, min(next.last, s.hub.channel.clock()))
			}
		}
		if f.place == next.to {
			return nil
		}
		f.place = next.to
	}
	return nil
}

// askBehind needs mu held.
func (s *session) askBehind() {
	if !s.asking {
		s.asking = true
		s.hub.asks.add(s)
	}
}

// noteSent counts versions that were written to the session.
func (s *session) noteSent(w *work, versions []int64) {
	w.deliveries += len(versions)
	for _, version := range versions {
		if age, counts := s.fresh(version, w.now); counts {
			w.ages.add(age)
		}
	}
}

// Broadcast tells all sessions of the Odoo wire that have subscribed to
// anything. It is not kept for those that come later. Payload is a JSON object.
func (h *Hub) Broadcast(name string, payload json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil || object == nil {
		return errors.New("a broadcast's payload is a JSON object") // null breaks pages of Odoo
	}
	message, err := json.Marshal(map[string]any{"type": name, "payload": payload})
	if err != nil {
		return err
	}
	h.rounds.add(news{topic: &topic{followed: true}, version: h.channel.clock(), text: message})
	return nil
}
