package api

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"shelfcast/store"
)

// Limits of those who wait for changes.
const (
	maxWaiting = 200              // calls at a time
	maxShare   = maxWaiting / 5   // of them, of one caller
	maxStream  = 15 * time.Minute // of a stream of events; its reader comes again with the last id
	heartbeat  = 10 * time.Second // of a stream
	maxOverlap = 5000             // changes of the Overlap before now; if there are more, some come that are older
)

// changesBody is an answer, and an event of a stream.
type changesBody struct {
	Changes []store.Rev `json:"changes" nullable:"false" doc:"By ascending version"`
	Next    string      `json:"next" doc:"The since of the next call"`
}

func (b *book) changes() {
	schema := huma.SchemaFromType(b.api.OpenAPI().Components.Schemas, reflect.TypeFor[changesBody]())
	reads(b, entry{
		id: "changes", method: http.MethodGet, path: "/changes", tag: "Changes", scope: store.ReadProducts,
		summary: "Follow what changes",
		description: "For other services. Waits up to wait seconds until something has changed since, and has then the new versions; to go on, call with since=next. With Accept: text/event-stream it goes on by itself: each event has such an answer as data and its next as id, and Last-Event-ID goes on where a stream has ended, which it does after 15 minutes at the latest.\n\n" +
			"Each change comes at least once, also if its transaction committed late; some come twice. A version is taken when an edit begins and seen when it commits, up to 10 s later: so since=VERSION begins 10 s before that version, and what was changed in those seconds may come again. A product that changed several times comes with its newest version.",
		responses: map[string]*huma.Response{"200": {Description: "What has changed, or nothing after so long", Content: map[string]*huma.MediaType{
			"application/json":  {Schema: schema},
			"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}},
		}}},
		response: exampleChanges,
	}, b.admin.changes)
}

// A tail is a place in the changes: whoever goes on from one misses nothing.
type tail struct {
	window // of the last read that came to the end

	// While one is under way that has yet to: its window so far, and the last that
	// was read.
	Next  *window   `json:"n,omitempty"`
	After store.Rev `json:"a,omitzero"`
}

// A window has the database's clock when a read began, and what has been handed
// over of the Overlap before it: so a change that was committed late is told from
// those that were seen.
type window struct {
	Clock int64      `json:"c"`
	Seen  [][2]int64 `json:"s,omitempty"` // ids, and how long before the clock
	Sum   uint64     `json:"h,omitempty"` // of all that, if it is more than a tail can name; 0: Seen is all
}

// maxSeen is how many changes a tail can name.
const maxSeen = 32

// with is w when these have been handed over as well.
func (w window) with(revs []store.Rev) window {
	w.Seen = slices.Clone(w.Seen)
	for _, r := range revs {
		switch {
		case r.Version <= w.Clock-overlap || r.Version > w.Clock:
		case w.Sum != 0:
			w.Sum = sum(w.Sum, r)
		default:
			w.Seen = append(w.Seen, [2]int64{r.ID, w.Clock - r.Version})
		}
		if len(w.Seen) > maxSeen {
			for _, s := range w.Seen {
				w.Sum = sum(w.Sum, store.Rev{ID: s[0], Version: w.Clock - s[1]})
			}
			w.Seen = nil
		}
	}
	return w
}

// fresh are those of the revs that were not handed over; whole says that they are
// all from the Overlap before the clock on. What cannot be told is taken for fresh.
func (w window) fresh(revs []store.Rev, whole bool) []store.Rev {
	if w.Sum == 0 {
		return slices.DeleteFunc(slices.Clone(revs), func(r store.Rev) bool {
			return slices.Contains(w.Seen, [2]int64{r.ID, w.Clock - r.Version})
		})
	}
	known, late := uint64(0), 0
	for late < len(revs) && revs[late].Version <= w.Clock {
		known = sum(known, revs[late])
		late++
	}
	if whole && known == w.Sum {
		return revs[late:]
	}
	return revs
}

// sum goes on from the sum of those before. It is never 0.
func sum(before uint64, r store.Rev) uint64 {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, []uint64{before, uint64(r.ID), uint64(r.Version)})
	return h.Sum64() | 1
}

func (t tail) String() string { return cursor(t) }

// parseTail takes a version, or what String has made.
func parseTail(s string) (tail, error) {
	if version, err := strconv.ParseInt(s, 10, 64); err == nil && version >= 0 {
		return tail{window: window{Clock: version}}, nil
	}
	var t tail
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(text, &t)
	}
	if err != nil {
		return tail{}, huma.Error400BadRequest("since is neither a version nor the next of an answer")
	}
	return t, nil
}

// overlap is store.Overlap as versions count.
var overlap = store.Overlap.Microseconds()

// A timeline has the changes in the order of their versions. *store.DB is one.
type timeline interface {
	Clock(ctx context.Context) (int64, error)
	ChangedSince(ctx context.Context, after store.Rev, limit int) ([]store.Rev, error)
}

// read has what is new since t, at most limit of it, and the place after that. If
// it is not at the end then, that place has a Next.
func (t tail) read(ctx context.Context, db timeline, limit int) ([]store.Rev, tail, error) {
	now, err := db.Clock(ctx) // before the rows: what comes between is read again
	if err != nil {
		return nil, t, err
	}
	next, after := window{Clock: now}, store.Rev{Version: t.Clock - overlap}
	if t.Next != nil {
		next, after = *t.Next, t.After
	}
	revs, err := db.ChangedSince(ctx, after, limit)
	if err != nil {
		return nil, t, err
	}
	// Seen is what was read, and not what there is by now: that may be more.
	next = next.with(revs)
	if len(revs) == limit {
		return t.fresh(revs, false), tail{window: t.window, Next: &next, After: revs[limit-1]}, nil
	}
	return t.fresh(revs, t.Next == nil), tail{window: next}, nil
}

// Why a call may not wait for changes.
var (
	ErrWaiting      = fmt.Errorf("%d calls wait for changes here, and there may be no more", maxWaiting)
	ErrWaitingShare = fmt.Errorf("%d calls of this token wait for changes here, and there may be no more of one", maxShare)
)

// waiting counts the calls that wait for changes, in all and of each caller. The
// zero value is ready. Its methods may be called concurrently.
type waiting struct {
	mu  sync.Mutex
	all int
	of  map[string]int // by the caller's key, of those that have one
}

// enter lets a caller wait until it calls leave, once. Errors: ErrWaiting,
// ErrWaitingShare.
func (w *waiting) enter(key string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.of[key] >= maxShare:
		return nil, ErrWaitingShare
	case w.all >= maxWaiting:
		return nil, ErrWaiting
	case w.of == nil:
		w.of = map[string]int{}
	}
	w.all++
	w.of[key]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.all--
		if w.of[key]--; w.of[key] == 0 {
			delete(w.of, key)
		}
	}, nil
}

type changesAnswer struct {
	Body func(huma.Context)
}

func (a *Admin) changes(ctx context.Context, in *struct {
	Since  string `query:"since" doc:"A version, or the next of an answer; absent: from now on" example:"1795433536820389"`
	Wait   int    `query:"wait" minimum:"0" maximum:"30" default:"25" doc:"Seconds to wait for something"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"500"`
	LastID string `header:"Last-Event-ID" doc:"Of a stream that has ended: stands before since"`
	Accept string `header:"Accept" doc:"text/event-stream for a stream"`
}) (*changesAnswer, error) {
	leave, err := a.waiting.enter(callerOf(ctx).Key)
	if err != nil {
		return nil, err
	}
	streams := strings.Contains(in.Accept, "text/event-stream")
	place, err := a.begin(ctx, in.Since, in.LastID)
	if err != nil || streams {
		if err != nil {
			leave()
			return nil, err
		}
		return &changesAnswer{func(ctx huma.Context) { a.stream(humafiber.Unwrap(ctx), place, in.Limit, leave) }}, nil
	}
	defer leave()
	body, _, err := a.await(ctx, place, in.Limit, time.Duration(in.Wait)*time.Second)
	if err != nil {
		return nil, err
	}
	return &changesAnswer{func(ctx huma.Context) {
		ctx.SetHeader("Cache-Control", "no-store")
		_ = humafiber.Unwrap(ctx).JSON(body) // the connection's fault, if any
	}}, nil
}

// begin is where the caller wants to begin.
func (a *Admin) begin(ctx context.Context, since, lastID string) (tail, error) {
	for _, text := range []string{lastID, since} {
		if text != "" {
			return parseTail(text)
		}
	}
	now, err := a.DB.Clock(ctx)
	if err != nil {
		return tail{}, err
	}
	seen, err := a.DB.ChangedSince(ctx, store.Rev{Version: now - overlap}, maxOverlap)
	return tail{window: window{Clock: now}.with(seen)}, err
}

// await has what changes after the place, as soon as there is anything, or
// nothing when the time is over or the app is to end.
func (a *Admin) await(ctx context.Context, place tail, limit int, wait time.Duration) (changesBody, tail, error) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		changed := a.Hub.Changed() // before the read: what comes meanwhile wakes
		revs, next, err := place.read(ctx, a.DB, limit)
		if err != nil {
			return changesBody{}, place, err
		}
		body := changesBody{Changes: append([]store.Rev{}, revs...), Next: next.String()}
		if len(revs) > 0 {
			return body, next, nil
		}
		if place.Next != nil || next.Next != nil { // there is more, or what came late behind the pages
			place = next
			continue
		}
		select {
		case <-changed:
		case <-over.C:
			return body, next, nil
		case <-a.Closing:
			return body, next, nil
		}
		place = next
	}
}

// stream writes events until the reader goes, or the app does.
func (a *Admin) stream(c *fiber.Ctx, place tail, limit int, leave func()) {
	c.Set(fiber.HeaderContentType, "text/event-stream; charset=utf-8")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // nginx would keep events back
	ctx, conn := c.UserContext(), c.Context().Conn()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer leave()
		end := time.Now().Add(maxStream)
		if !flush(w, conn, "retry: 2000\n\n") {
			return
		}
		for time.Now().Before(end) {
			body, next, err := a.await(ctx, place, limit, heartbeat)
			text := ": nothing yet\n\n"
			switch {
			case err != nil:
				return // its reader comes again
			case len(body.Changes) > 0:
				data, _ := json.Marshal(body)
				text = fmt.Sprintf("id: %s\ndata: %s\n\n", body.Next, data)
			}
			if !flush(w, conn, text) {
				return
			}
			place = next
			select {
			case <-a.Closing:
				return
			default:
			}
		}
	})
}

// flush says whether the reader is there. It has the time of a whole answer for
// each event.
func flush(w *bufio.Writer, conn net.Conn, text string) bool {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return false
	}
	_, err := w.WriteString(text)
	return err == nil && w.Flush() == nil
}
