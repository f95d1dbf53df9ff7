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

// A channel has the changes of all products, for sessions that follow them all
// and not some products: those of the Odoo wire. It is one ring for all of them,
// which has of each product the latest change only, in the order in which this
// instance had its fragment. A session is at a place in it; that is its fold,
// and one that is so slow that the ring has gone on is brought back by a read
// from the database (resume). There is something in it only while somebody
// follows.
type channel struct {
	clockOff atomic.Int64 // of the database's clock from ours, in microseconds

	// Guarded by Hub.mu.
	followers map[uint32]struct{} // the slots of sessions
	topics    map[int64]*topic    // products whose changes were heard of
	repeats   []repeat            // in the order in which they are due
	began     int64               // the database's clock at the first read; 0: there was none yet

	// Guarded by mu, which is taken after a session's own.
	mu      sync.Mutex
	entries []*entry         // in the order of their numbers
	latest  map[int64]*entry // by product
	alive   int              // entries that are not old
	head    uint64           // the number of the last
	lost    uint64           // the last that was dropped though it was not old
	last    int64            // the greatest id that was given to an entry, or version that was read
	chunks  map[chunkKey]*chunk
}

// An entry is one notification. Its id is about its version, and above all ids of
// entries before, so that a change that comes late has one too that those who
// follow have not had. A browser that has had greater ids elsewhere gets others.
type entry struct {
	number  uint64
	id      int64
	product int64 // 0: a broadcast
	version int64
	message []byte
	old     bool // there is a newer one of the product
}

const (
	// ringSize is how many changes the ring has.
	ringSize = 4096
	// chunkSize is how many notifications a frame has.
	chunkSize = 1000
	// chunksKept is at how many places of the ring sessions may be and share
	// their frames; a round has one, and slow browsers some.
	chunksKept = 64
)

// A chunk is a frame of what follows a place in the ring, made once for all who
// are there.
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

func newChannel() channel {
	return channel{
		followers: map[uint32]struct{}{}, topics: map[int64]*topic{},
		latest: map[int64]*entry{}, chunks: map[chunkKey]*chunk{},
	}
}

// setClock takes the database's clock.
func (c *channel) setClock(now int64) { c.clockOff.Store(now - time.Now().UnixMicro()) }

// clock is about the database's.
func (c *channel) clock() int64 { return time.Now().UnixMicro() + c.clockOff.Load() }

// topicOf is the channel's own topic of a product, or nil if nobody follows;
// Hub.mu held.
func (h *Hub) topicOf(id int64) *topic {
	c := &h.channel
	if len(c.followers) == 0 {
		return nil
	}
	t := c.topics[id]
	if t == nil {
		t = &topic{id: id, kind: kind{view: h.cfg.Odoo.View}, followed: true}
		c.topics[id] = t
	}
	return t
}

// follow has the session among those that are told; Hub.mu held.
func (c *channel) follow(s *session) { c.followers[s.slot()] = struct{}{} }

// unfollow needs Hub.mu held. Nobody is left: what there is is forgotten, for
// it goes on only while somebody follows.
func (c *channel) unfollow(s *session) {
	delete(c.followers, s.slot())
	if len(c.followers) > 0 {
		return
	}
	c.topics, c.repeats, c.began = map[int64]*topic{}, nil, 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries, c.alive = nil, 0
	clear(c.latest)
	clear(c.chunks)
}

// add puts news into the ring; Hub.mu held. It says whether there is anything to
// be told.
func (c *channel) add(all []news, again time.Duration) (more bool) {
	if len(all) == 0 || len(c.followers) == 0 {
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
			had != nil && had.version == n.version && !n.again,
			n.version < n.topic.newest.Load(): // the newer one is on its way
			continue
		}
		if had != nil {
			had.old = true
			c.alive--
		}
		more = true
		n.topic.told = n.version
		c.head++
		c.last = max(n.version, c.last+1)
		e := &entry{number: c.head, id: c.last, product: id, version: n.version, message: n.text}
		c.entries = append(c.entries, e)
		c.alive++
		if id != 0 {
			c.latest[id] = e
			if !n.again {
				c.repeat(n, again)
			}
		}
	}
	c.trim()
	clear(c.chunks)
	c.prune()
	return more
}

// trim needs mu held. It drops what is too much, and then what is old.
func (c *channel) trim() {
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

// prune needs Hub.mu and mu held. It forgets products of which no change is in
// the ring, unless the feed may yet apply it again.
func (c *channel) prune() {
	if len(c.topics) <= 4*ringSize {
		return
	}
	before := c.clock() - 6*store.Overlap.Microseconds()
	for id, t := range c.topics {
		if newest := t.newest.Load(); newest == t.told && newest < before && c.latest[id] == nil {
			delete(c.topics, id)
		}
	}
}

// had notes versions that those who came back were told, with ids as great: the
// database's word, never a browser's, of which others' ids would depend. What is
// added from now on is above them.
func (c *channel) had(found []store.Recent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range found {
		c.last = max(c.last, r.Version)
	}
}

// end is the place after all that there is.
func (c *channel) end() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.head
}

// after has what follows a place, for a session whose last id is that one. Gone:
// some of it is in the ring no more.
func (c *channel) after(place uint64, follows bool, last int64) (_ *chunk, gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if place < c.lost && follows {
		return nil, true
	}
	made := c.chunk(chunkKey{place: place, follows: follows})
	if made.frame != nil && made.first <= last {
		// It has had ids that are above those of the ring, and says so itself: its
		// ids are its own affair, and those of others stay.
		made = c.chunk(chunkKey{place, follows, last})
	}
	return made, false
}

// chunk needs mu held. It is made unless there is one.
func (c *channel) chunk(key chunkKey) *chunk {
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

// make needs mu held.
func (c *channel) make(from chunkKey) *chunk {
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

// A list is the text of a frame: notifications, oldest first.
type list struct{ bytes.Buffer }

func (l *list) add(id int64, message []byte) {
	opening := ", "
	if l.Len() == 0 {
		opening = "["
	}
	fmt.Fprintf(l, `%s{"id": %d, "message": %s}`, opening, id, message)
}

// frame is nil if there is nothing in it: an empty list is no frame of Odoo's.
func (l *list) frame() []byte {
	if l.Len() == 0 {
		return nil
	}
	l.WriteByte(']')
	return append(appendHeader(nil, l.Len()), l.Bytes()...)
}

// productMessage is the notification of a version of a product.
func productMessage(id, version int64, externalID string) []byte {
	return fmt.Appendf(nil, `{"type": "notification", "payload": {"product_tmpl_id": %d, "version": %d}}`, store.OdooID(id, externalID), version)
}

// ofChannel is the news of a version for those who follow.
func ofChannel(t *topic, f *render.Fragment) news {
	return news{topic: t, version: f.Version, text: productMessage(f.ID, f.Version, f.ExternalID)}
}
