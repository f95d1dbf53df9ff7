package realtime

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"shelfcast/render"
	"shelfcast/store"
)

// The firehose has the changes of all products, for sessions that subscribe to all of them
// and not to some: those of the Odoo protocol. It is one ring for all subscribers. It has
// only the latest change of each product, in the order in which this instance loaded the
// fragments. Each subscriber has a position in it. A subscriber that is so slow that the
// ring has overtaken it catches up from the database (runCatchUps). The firehose is empty
// while it has no subscribers.
type firehose struct {
	clockOff atomic.Int64 // of the database's clock from ours, in microseconds

	// Guarded by Hub.mu.
	subscribers  map[uint32]struct{} // the slots of sessions
	topics       map[int64]*topic    // products whose changes were heard of
	redeliveries []redelivery        // in the order in which they are due
	began        int64               // the database's clock at the first read; 0: there was none yet

	// Guarded by mu, which is taken after a session's own.
	mu      sync.Mutex
	entries []*entry         // in the order of their numbers
	latest  map[int64]*entry // by product
	alive   int              // entries that are not old
	head    uint64           // the number of the last
	lost    uint64           // the last that was dropped though it was not old
	last    int64            // the greatest id that was given to an entry, or version that was read
	chunks  map[chunkKey]*chunk
	late    []lateCommits // in the order in which they were heard of
}

// An entry is one notification. Its id is close to its version and greater than the ids of
// all entries before, so that subscribers have not had the id of a late change either. A
// browser that has had greater ids elsewhere is sent other ids.
type entry struct {
	number  uint64
	id      int64
	product int64 // 0: a broadcast
	version int64
	message []byte
	old     bool // there is a newer one of the product
}

const (
	// ringSize is how many changes the ring keeps.
	ringSize = 4096
	// chunkSize is how many notifications a frame has at most.
	chunkSize = 1000
	// chunksKept is for how many positions frames are kept, to be shared by the subscribers
	// there. A flush cycle needs one, and slow subscribers some more.
	chunksKept = 64
)

// A chunk is the frame of what follows a position in the ring, made once for all
// subscribers that are there.
type chunk struct {
	frame       []byte // nil: nothing
	first, last int64  // ids
	to          uint64 // the place after it
	versions    []int64
}

type chunkKey struct {
	place   uint64
	follows bool
	last    int64 // ids are above it; 0: they are those of the entries
}

func newFirehose() firehose {
	return firehose{
		subscribers: map[uint32]struct{}{}, topics: map[int64]*topic{},
		latest: map[int64]*entry{}, chunks: map[chunkKey]*chunk{},
	}
}

// SetClock records what the database's clock said, in microseconds, at a time of ours.
func (h *Hub) SetClock(now int64, at time.Time) { h.firehose.clockOff.Store(now - at.UnixMicro()) }

// off returns how far the database's clock is ahead of ours.
func (c *firehose) off() time.Duration { return time.Duration(c.clockOff.Load()) * time.Microsecond }

// clock returns what the database's clock says now, as far as we know.
func (c *firehose) clock() int64 { return time.Now().UnixMicro() + c.clockOff.Load() }

// firehoseTopic returns the firehose's own topic of a product, or nil if the firehose has no
// subscribers. Hub.mu must be held.
func (h *Hub) firehoseTopic(id int64) *topic {
	c := &h.firehose
	if len(c.subscribers) == 0 {
		return nil
	}
	t := c.topics[id]
	if t == nil {
		t = &topic{id: id, kind: kind{view: h.cfg.Odoo.View}, onFirehose: true}
		c.topics[id] = t
	}
	return t
}

// addSubscriber adds a session. Hub.mu must be held.
func (c *firehose) addSubscriber(s *session) { c.subscribers[s.slot()] = struct{}{} }

// removeSubscriber removes a session. With the last one the firehose is emptied. Hub.mu must
// be held.
func (c *firehose) removeSubscriber(s *session) {
	delete(c.subscribers, s.slot())
	if len(c.subscribers) > 0 {
		return
	}
	c.topics, c.redeliveries, c.began = map[int64]*topic{}, nil, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.alive = nil, 0
	clear(c.latest)
	clear(c.chunks)
}

// add puts news into the ring, and reports whether there is anything to deliver. Hub.mu must
// be held.
func (c *firehose) add(all []news, again time.Duration) (more bool) {
	if len(all) == 0 || len(c.subscribers) == 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range all {
		id := n.topic.id
		had := c.latest[id]
		switch {
		case id == 0:
			had = nil
		case c.topics[id] != n.topic, // of those who followed before
			had != nil && had.version == n.version && !n.redelivered,
			n.version < n.topic.newest.Load(): // the newer one is on its way
			continue
		}
		if had != nil {
			had.old = true
			c.alive--
		}
		more = true
		n.topic.announced = n.version
		c.head++
		c.last = max(n.version, c.last+1)
		e := &entry{number: c.head, id: c.last, product: id, version: n.version, message: n.text}
		c.entries = append(c.entries, e)
		c.alive++
		if id != 0 {
			c.latest[id] = e
			if !n.redelivered {
				c.redeliverLater(n, again)
			}
		}
	}
	c.trim()
	clear(c.chunks)
	c.prune()
	return more
}

// trim drops entries beyond ringSize, and then superseded ones. mu must be held.
func (c *firehose) trim() {
	for i := 0; c.alive > ringSize; i++ {
		if e := c.entries[i]; !e.old {
			e.old = true
			c.alive--
			c.lost = e.number
			if c.latest[e.product] == e {
				delete(c.latest, e.product)
			}
		}
	}
	if len(c.entries) > 2*c.alive+chunksKept {
		c.entries = slices.DeleteFunc(c.entries, func(e *entry) bool { return e.old })
	}
}

// prune forgets the topics of products that have no entry in the ring, unless the feed may
// yet read their change again. Hub.mu and mu must be held.
func (c *firehose) prune() {
	if len(c.topics) <= 4*ringSize {
		return
	}
	before := c.clock() - 6*store.Overlap.Microseconds()
	for id, t := range c.topics {
		if newest := t.newest.Load(); newest == t.announced && newest < before && c.latest[id] == nil {
			delete(c.topics, id)
		}
	}
}

// had makes later ids greater than these versions, which catch-ups have sent as ids. They
// come from the database and never from a browser: nobody's ids depend on another's.
func (c *firehose) had(found []store.RecentChange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range found {
		c.last = max(c.last, r.Version)
	}
}

// end returns the position after the last entry.
func (c *firehose) end() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// after returns what follows a position, for a session with that last id. gone reports that
// some of it is not in the ring any more.
func (c *firehose) after(place uint64, follows bool, last int64) (_ *chunk, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place < c.lost && follows {
		return nil, true
	}
	made := c.chunk(chunkKey{place: place, follows: follows})
	if made.frame != nil && made.first <= last {
		// The browser says that it has had ids above those of the ring. Its ids are its own;
		// those of others do not change.
		made = c.chunk(chunkKey{place, follows, last})
	}
	return made, false
}

// chunk returns the chunk of that key, and makes it if there is none. mu must be held.
func (c *firehose) chunk(key chunkKey) *chunk {
	made := c.chunks[key]
	if made == nil {
		if len(c.chunks) >= chunksKept {
			clear(c.chunks)
		}
		made = c.make(key)
		c.chunks[key] = made
	}
	return made
}

// make makes a chunk. mu must be held.
func (c *firehose) make(from chunkKey) *chunk {
	made, last := &chunk{to: c.head}, from.last
	var list list
	at, _ := slices.BinarySearchFunc(c.entries, from.place, func(e *entry, place uint64) int {
		if e.number <= place {
			return -1
		}
		return 1
	})
	for _, e := range c.entries[at:] {
		if e.old || e.product != 0 && !from.follows {
			continue
		}
		if len(made.versions) == chunkSize {
			break
		}
		last = max(e.id, last+1)
		if len(made.versions) == 0 {
			made.first = last
		}
		list.add(last, e.message)
		made.last, made.to = last, e.number
		made.versions = append(made.versions, e.version)
	}
	if len(made.versions) < chunkSize {
		made.to = c.head
	}
	made.frame = list.frame()
	return made
}

// A list builds the text of a frame: notifications, oldest first.
type list struct{ bytes.Buffer }

func (l *list) add(id int64, message []byte) {
	opening := ", "
	if l.Len() == 0 {
		opening = "["
	}
	fmt.Fprintf(l, `%s{"id": %d, "message": %s}`, opening, id, message)
}

// frame returns the list as a frame, and nil if it is empty: Odoo sends no empty lists.
func (l *list) frame() []byte {
	if l.Len() == 0 {
		return nil
	}
	l.WriteByte(']')
	return append(appendHeader(nil, l.Len()), l.Bytes()...)
}

// productMessage returns the notification of a version of a product.
func productMessage(id, version int64, externalID string) []byte {
	return fmt.Appendf(nil, `{"type": "notification", "payload": {"product_tmpl_id": %d, "version": %d}}`,
		store.OdooID(id, externalID), version)
}

// ofChannel returns the news of a version for subscribers of the firehose.
func firehoseNews(t *topic, f *render.Fragment) news {
	return news{topic: t, version: f.Version, text: productMessage(f.ID, f.Version, f.ExternalID)}
}
