package realtime

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// A Census says how many open pages show products, over the fleet.
type Census struct {
	Pages     int           `json:"pages"`     // sessions that watch at least one of them
	Products  map[int64]int `json:"products"`  // sessions by product, without those that nobody watches
	Instances int           `json:"instances"` // that answered
	Complete  bool          `json:"complete"`  // all instances that listen have answered
}

// counting is how many sessions are looked at with Hub.mu held, and those of one
// product: a fraction of a millisecond.
const counting = 4096

// Census says how many sessions of this instance watch at least one of these
// products, and how many each, without those that nobody watches. Sessions that
// come and go meanwhile may or may not be counted.
func (h *Hub) Census(ids []int64) (pages int, products map[int64]int) {
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

// count needs h.mu held. It marks the sessions that watch a product; one that
// has it in two views counts once.
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

// watchedIn says whether the session in that slot watches any of these topics;
// Hub.mu held.
func watchedIn(topics []*topic, at uint32) bool {
	for _, t := range topics {
		if _, watches := t.watchers[at]; watches {
			return true
		}
	}
	return false
}

// MaxCensus is how many products a census may be of.
const MaxCensus = 10_000

// Census asks all instances how many pages show these products, and waits for
// their answers for as long as BusConfig.Census says. There is no error: who
// does not answer is not counted, and Complete says so, as it does when there
// are more than MaxCensus products, of which the rest is not counted. Nothing is
// kept anywhere for it: an instance counts when it is asked.
//
// A question goes to a channel that all instances hear, and each answer to the
// inbox of the one that asks. Redis says how many hear it, and that is how many
// have to answer. The one that asks is among them, and hears its own question.
func (b *Bus) Census(ctx context.Context, ids []int64) Census {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	asked := ids[:min(len(ids), MaxCensus)]
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Census)
	defer cancel()
	number, answers := b.inbox.open()
	defer b.inbox.close(number)
	b.counted.asked.Inc()
	listeners, err := b.publishTo(ctx, questions, number+" "+string(encode(question{b.name, asked})))
	if err != nil {
		b.log.Debug("a census could not be asked for", "error", err)
	}
	c := Census{Instances: 1}
	c.Pages, c.Products = b.hub.Census(asked)
	if err == nil && b.collect(ctx, &c, asked, answers, int(listeners)) {
		c.Complete = len(asked) == len(ids)
	}
	if !c.Complete {
		b.counted.incomplete.Inc()
	}
	return c
}

// collect adds the answers, until so many instances have answered or ctx ends.
// All: they have, and this one has heard its own question, or it would not hear
// an answer.
func (b *Bus) collect(ctx context.Context, c *Census, asked []int64, answers <-chan string, listeners int) (all bool) {
	heard := map[string]bool{} // instances, by name
	for len(heard) < listeners {
		select {
		case text := <-answers:
			if text == itself {
				heard[b.name] = true
				continue
			}
			var a answer
			if err := json.Unmarshal([]byte(text), &a); err != nil || a.From == b.name || !a.fits(asked) {
				b.drop("garbled", text)
			} else if !heard[a.From] { // Redis may have been asked twice, by a client that tries again
				heard[a.From] = true
				c.add(a)
			}
		case <-ctx.Done():
			return false
		}
	}
	return heard[b.name]
}

func (c *Census) add(a answer) {
	c.Instances++
	c.Pages += a.Pages
	for id, n := range a.Products {
		c.Products[id] += n
	}
}

// A question goes to all instances, after its number.
type question struct {
	From string  `json:"from"` // the instance that asks
	IDs  []int64 `json:"ids"`
}

// An answer goes to the inbox of the one that asked, after the number of the
// question.
type answer struct {
	From     string        `json:"from"`
	Pages    int           `json:"pages"`
	Products map[int64]int `json:"products"`
}

// fits: it may be an answer to a question for these products, which are sorted.
func (a answer) fits(asked []int64) bool {
	for id, n := range a.Products {
		if _, was := slices.BinarySearch(asked, id); !was || n < 1 || n > a.Pages {
			return false
		}
	}
	return a.From != "" && a.Pages >= 0
}

// answer counts what another instance asks for.
func (b *Bus) answer(ctx context.Context, message string) {
	number, text, _ := strings.Cut(message, " ")
	const name = 64 // bytes, and more than rand.Text has
	var q question
	if err := json.Unmarshal([]byte(text), &q); err != nil || q.From == "" || max(len(q.From), len(number)) > name || len(q.IDs) > MaxCensus {
		b.drop("garbled", message)
		return
	}
	if q.From == b.name {
		return // it waits for no answer any more
	}
	a := answer{From: b.name}
	a.Pages, a.Products = b.hub.Census(q.IDs)
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	if _, err := b.publishTo(ctx, inboxOf(q.From), number+" "+string(encode(a))); err != nil {
		b.drop("unsent", message)
		return
	}
	b.counted.answered.Inc()
}

// drop counts what was not taken.
func (b *Bus) drop(why, message string) {
	b.counted.dropped.WithLabelValues(why).Inc()
	b.log.Debug("dropped of a census", "why", why, "message", message[:min(len(message), 200)])
}

type censusMetrics struct {
	asked, answered, incomplete prometheus.Counter
	dropped                     *prometheus.CounterVec
}

func newCensusMetrics(to prometheus.Registerer) censusMetrics {
	counter := counters(to)
	return censusMetrics{
		asked:      counter("shelfcast_census_asked_total", "Times that this instance asked how many pages show products."),
		answered:   counter("shelfcast_census_answered_total", "Questions of other instances answered."),
		incomplete: counter("shelfcast_census_incomplete_total", "Questions that not all instances answered in time."),
		dropped: labelled(to, "shelfcast_census_dropped_total",
			"Messages dropped: garbled, busy (a question while too many waited), late (an answer that nobody waits for), unsent (an answer that Redis did not take).",
			"reason", "garbled", "busy", "late", "unsent"),
	}
}
