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

// RecentChangesSource returns the products that changed last, newest first. *store.DB implements it.
type RecentChangesSource interface {
	RecentChanges(ctx context.Context, after int64, limit int) ([]store.RecentChange, error)
}

// OdooConfig configures what browsers of an Odoo 16 storefront are sent. They speak Odoo's
// bus protocol: they subscribe to channels by name, get a notification for every product
// that changes, and fetch the ones that they show.
type OdooConfig struct {
	Channel         string              // of product changes; "product_updates"
	View            render.View         // what they fetch, and so is loaded before they are notified; render.Card
	RedeliveryDelay time.Duration       // until each change is delivered again (redeliverLater); 3s; negative: never
	Changes         RecentChangesSource // read by catch-ups; required for sessions of this protocol
}

// Close codes that Odoo's client handles: after 4002 it reconnects within a second, after
// 1013, and all others except 1000, a little later.
const (
	statusKeepAlive ws.StatusCode = 4002
	statusTryLater  ws.StatusCode = 1013
)

// Limits of the Odoo protocol.
const (
	maxOdooMessage   = 1 << 20                       // bytes of a message of a browser
	catchUpOverlap   = store.Overlap + 2*time.Second // how far behind the last id a catch-up starts; the feed may be late
	catchUpWithoutID = 50 * time.Second              // how far a catch-up goes back without a last id
	maxCatchUp       = 1000                          // notifications in a catch-up, the newest ones
	minOurID         = 1e15                          // smaller ids come from a real Odoo
	clockTolerance   = time.Second                   // by how much our estimate of the database's clock may be behind
)

// odooBus is the bus of Odoo 16.
type odooBus struct{}

func (odooBus) name() string { return "odoo" }

// byteCost is little: messages may have 1 MiB, and no lists that cost anything.
func (odooBus) byteCost() time.Duration { return 5 * time.Microsecond }

func (p odooBus) receive(s *session, w *scratch, data []byte) error {
	return s.receiveFrames(p, w, data)
}

func (odooBus) maxMessage(*Config) int { return maxOdooMessage }
func (odooBus) takesBinary() bool      { return true }

func (odooBus) message(s *session, w *scratch, text []byte) *refusal {
	s.handleOdoo(text, w)
	return nil
}

// appendNews: a subscriber has its notifications from the firehose, and watches nothing.
func (odooBus) appendNews(to []byte, mode Mode, picks []pick) []byte {
	return appendFrame(to, mode, picks)
}

func (odooBus) sharesFrames() bool { return false }

// refusal is a close frame alone: Odoo's client takes no text but notifications.
func (p odooBus) refusal(r *refusal) (frames []byte, last bool) { return p.end(r.close, r.Code), true }

func (odooBus) ping() (frames []byte, answered bool) { return pingFrame, true }

func (odooBus) end(code ws.StatusCode, reason string) []byte { return closeFrame(code, reason) }
func (p odooBus) restart() []byte                            { return p.end(statusKeepAlive, "") }

// closeEcho has 1000, as Odoo's server says: its client takes any other answer as a reason
// to come back at once.
func (p odooBus) closeEcho() []byte { return p.end(ws.StatusNormalClosure, "") }

// A subscriber is the state of a session that speaks Odoo's protocol. It has that in place
// of the products that other sessions watch. Guarded by the session's mu.
type subscriber struct {
	listening    bool   // it has sent a subscription, and so gets broadcasts
	subscribed   bool   // to product changes
	needsCatchUp bool   // what it lacks has to be read from the database
	lastID       int64  // the greatest id that the browser has had; 0: none
	since        int64  // the database's clock up to which it has everything; 0: unknown
	position     uint64 // in the firehose: it has had what is before
}

// subscription is a message of a browser.
type subscription struct {
	Event string `json:"event_name"`
	Data  *struct {
		Channels []*string       `json:"channels"`
		Last     json.RawMessage `json:"last"`
	} `json:"data"`
}

// handleOdoo handles a message of an Odoo browser. Unknown and invalid messages are ignored,
// as Odoo does: other parts of a shop send their own.
func (s *session) handleOdoo(message []byte, w *scratch) {
	var said subscription
	if json.Unmarshal(message, &said) != nil || said.Event != "subscribe" || said.Data == nil ||
		said.Data.Channels == nil {
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

// parseLast parses the last id of a browser. One that overflows counts as the greatest.
func parseLast(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "-0123456789") != "" {
		return 0, false
	}
	last, err := strconv.ParseInt(text, 10, 64)
	return last, err == nil || errors.Is(err, strconv.ErrRange)
}

// subscribe subscribes the session to the firehose, or unsubscribes it: each subscription
// replaces the one before. The last id never goes back.
func (s *session) subscribe(w *scratch, follows bool, last int64) {
	c := &s.hub.firehose
	if last < minOurID || last > c.clock()+clockTolerance.Microseconds() {
		last = 0 // of another server, or made up: treat it as a first connection
	}
	s.hub.mu.Lock()
	s.mu.Lock()
	f := s.subscriber
	if s.closed || s.hub.cfg.Odoo.Changes == nil {
		s.mu.Unlock()
		s.hub.mu.Unlock()
		return
	}
	// The browser chose this number, so it must only affect this session.
	f.lastID, f.since = max(f.lastID, last), max(f.since, last)
	if !f.listening {
		f.listening, f.position = true, c.end()
		c.addSubscriber(s)
	}
	f.needsCatchUp = follows && (f.needsCatchUp || !f.subscribed)
	f.subscribed = follows
	s.mu.Unlock()
	s.hub.mu.Unlock()
	s.flush(w)
}

// catchUp sends what the firehose has after the session's position. mu must be held.
func (s *session) catchUp(w *scratch) error {
	f := s.subscriber
	for f.listening && s.ready() {
		if f.needsCatchUp {
			s.queueCatchUp()
			return nil
		}
		next, gone := s.hub.firehose.after(f.position, f.subscribed, f.lastID)
		if gone {
			f.needsCatchUp = true
			continue
		}
		if next.frame != nil {
			taken, err := s.write(w, next.frame)
			if err != nil || !taken {
				return err
			}
			s.noteSent(w, next.versions)
			f.lastID = next.last
			if f.subscribed {
				f.since = max(f.since, min(next.last, s.hub.firehose.clock()))
			}
		}
		if f.position == next.to {
			return nil
		}
		f.position = next.to
	}
	return nil
}

// queueCatchUp queues the session to have its catch-up read from the database. mu must be held.
func (s *session) queueCatchUp() {
	if !s.checking {
		s.checking = true
		s.hub.versionChecks.add(s)
	}
}

// noteSent counts versions that were written to the session.
func (s *session) noteSent(w *scratch, versions []int64) {
	w.deliveries += len(versions)
	for _, version := range versions {
		if age, counts := s.latency(version, w.now); counts {
			w.latencies.add(age)
		}
	}
}

// Broadcast sends a message to all sessions of the Odoo protocol that have subscribed to
// anything. It is not kept for sessions that connect later. payload must be a JSON object.
func (h *Hub) Broadcast(name string, payload json.RawMessage) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(payload, &object); err != nil || object == nil {
		return errors.New("a broadcast's payload is a JSON object") // null breaks pages of Odoo
	}
	message, err := json.Marshal(map[string]any{"type": name, "payload": payload})
	if err != nil {
		return err
	}
	h.flushes.add(news{topic: &topic{onFirehose: true}, version: h.firehose.clock(), text: message})
	return nil
}
