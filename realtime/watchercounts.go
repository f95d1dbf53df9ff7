package realtime

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/realtime/bus"
)

// WatcherCounts is how many open pages show products, over all instances.
type WatcherCounts struct {
	Pages     int           `json:"pages"`     // sessions that watch at least one of them
	Products  map[int64]int `json:"products"`  // sessions by product, without those that nobody watches
	Instances int           `json:"instances"` // that have answered
	Complete  bool          `json:"complete"`  // all instances that received the request have answered
}

// counting is how many sessions, plus those of one product, are counted while Hub.mu is held:
// a fraction of a millisecond.
const counting = 4096

// CountWatchers returns how many sessions of this instance watch at least one of these
// products, and how many watch each, without products that nobody watches. Sessions that
// begin or end meanwhile may or may not be counted.
func (h *Hub) CountWatchers(ids []int64) (pages int, products map[int64]int) {
	products = map[int64]int{}
	var seen marks
	for len(ids) > 0 {
		h.mu.Lock()
		seen = seen.grow(len(h.table.marks))
		for looked := 0; looked < counting && len(ids) > 0; ids = ids[1:] {
			n := h.count(ids[0], seen)
			if n > 0 {
				products[ids[0]] = n
			}
			looked += 1 + n
		}
		h.mu.Unlock()
	}
	return seen.count(), products
}

// count marks the sessions that watch a product and returns their number. A session that
// watches two views of it counts once. h.mu must be held.
func (h *Hub) count(id int64, seen marks) (sessions int) {
	topics := h.topics[id]
	for k, t := range topics {
		for at := range t.watchers {
			seen.set(at)
			if !watchedIn(topics[:k], at) {
				sessions++
			}
		}
	}
	return sessions
}

// watchedIn reports whether the session in that slot watches any of these topics. Hub.mu must
// be held.
func watchedIn(topics []*topic, at uint32) bool {
	for _, t := range topics {
		if _, watches := t.watchers[at]; watches {
			return true
		}
	}
	return false
}

// MaxCounted is how many products CountWatchers counts at most.
const MaxCounted = 10_000

// CountWatchers asks all instances how many pages show these products, and waits for their
// answers for up to FleetConfig.CountTimeout. It returns no error: instances that do not
// answer are not counted, and Complete is false then. It also is if there are more than
// MaxCounted products, of which the rest is not counted. Nothing is stored for it: an instance
// counts when it is asked.
//
// The request goes to all instances, and each reply to the inbox of the requesting one. The bus
// says how many instances receive the request, and so how many replies to expect. The requesting
// instance is among them, and receives its own request.
func (f *Fleet) CountWatchers(ctx context.Context, ids []int64) WatcherCounts {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	asked := ids[:min(len(ids), MaxCounted)]
	ctx, cancel := context.WithTimeout(ctx, f.cfg.CountTimeout)
	defer cancel()
	number, answers := f.inbox.open()
	defer f.inbox.close(number)
	f.counted.asked.Inc()
	instances, err := f.bus.Publish(ctx, bus.CountRequests, numbered(number, countRequest{f.name, asked}))
	if err != nil {
		f.log.Debug("publishing a request for watcher counts failed", "error", err)
	}
	c := WatcherCounts{Instances: 1}
	c.Pages, c.Products = f.hub.CountWatchers(asked)
	if err == nil && f.collect(ctx, &c, asked, answers, instances) {
		c.Complete = len(asked) == len(ids)
	}
	if !c.Complete {
		f.counted.incomplete.Inc()
	}
	return c
}

// collect adds the replies until that many instances have answered or ctx ends. It reports
// whether all have, and this instance has received its own request: otherwise it would not
// receive replies either.
func (f *Fleet) collect(ctx context.Context, c *WatcherCounts, asked []int64, answers <-chan string,
	instances int) (all bool) {
	answered := map[string]bool{} // instances, by name
	for len(answered) < instances {
		select {
		case text := <-answers:
			if text == itself {
				answered[f.name] = true
				continue
			}
			var a countReply
			if err := json.Unmarshal([]byte(text), &a); err != nil || a.From == f.name || !a.fits(asked) {
				f.drop("invalid", text)
			} else if !answered[a.From] { // a client that retries may have published the request twice
				answered[a.From] = true
				c.add(a)
			}
		case <-ctx.Done():
			return false
		}
	}
	return answered[f.name]
}

func (c *WatcherCounts) add(a countReply) {
	c.Instances++
	c.Pages += a.Pages
	for id, n := range a.Products {
		c.Products[id] += n
	}
}

// numbered returns the message of a request or a reply, preceded by the request's number.
func numbered(number string, message any) []byte {
	return append([]byte(number+" "), encode(message)...)
}

// A countRequest goes to all instances, preceded by its number.
type countRequest struct {
	From string  `json:"from"` // the requesting instance
	IDs  []int64 `json:"ids"`
}

// A countReply goes to the inbox of the requesting instance, preceded by the number of the
// request.
type countReply struct {
	From     string        `json:"from"`
	Pages    int           `json:"pages"`
	Products map[int64]int `json:"products"`
}

// fits reports whether a can be the reply to a request for these products, which are sorted.
func (a countReply) fits(asked []int64) bool {
	for id, n := range a.Products {
		if _, was := slices.BinarySearch(asked, id); !was || n < 1 || n > a.Pages {
			return false
		}
	}
	return a.From != "" && a.Pages >= 0
}

// reply answers the count request of another instance.
func (f *Fleet) reply(ctx context.Context, message string) {
	number, text, _ := strings.Cut(message, " ")
	const name = 64 // bytes, and more than rand.Text has
	var q countRequest
	if err := json.Unmarshal([]byte(text), &q); err != nil || q.From == "" || max(len(q.From), len(number)) > name ||
		len(q.IDs) > MaxCounted {
		f.drop("invalid", message)
		return
	}
	if q.From == f.name {
		return // our own request, for which nobody waits any more
	}
	a := countReply{From: f.name}
	a.Pages, a.Products = f.hub.CountWatchers(q.IDs)
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	if _, err := f.bus.Publish(ctx, bus.Inbox(q.From), numbered(number, a)); err != nil {
		f.drop("publish_failed", message)
		return
	}
	f.counted.answered.Inc()
}

// drop counts a message that is not handled.
func (f *Fleet) drop(why, message string) {
	f.counted.dropped.WithLabelValues(why).Inc()
	f.log.Debug("dropped a message about watcher counts", "why", why, "message", message[:min(len(message), 200)])
}

type countMetrics struct {
	asked, answered, incomplete prometheus.Counter
	dropped                     *prometheus.CounterVec
}

func newCountMetrics(to prometheus.Registerer) countMetrics {
	counter := counters(to)
	return countMetrics{
		asked: counter("shelfcast_watcher_count_queries_total", "Watcher counts requested from all instances."),
		answered: counter("shelfcast_watcher_count_replies_total",
			"Requests of other instances for watcher counts that were answered."),
		incomplete: counter("shelfcast_watcher_count_incomplete_total",
			"Watcher counts that some instance did not answer in time."),
		dropped: labelled(to, "shelfcast_watcher_count_messages_dropped_total",
			"Watcher count messages dropped, by reason: invalid; busy, a request while too many waited; "+
				"late, a reply that nobody waits for any more; publish_failed.",
			"reason", "invalid", "busy", "late", "publish_failed"),
	}
}
