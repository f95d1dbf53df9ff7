package public

import (
	"fmt"
	"testing"
	"time"

	"shelfcast/api/httpx"
)

// Invented versions, of the future or between an edit and now, and other spellings of a URL cause no new work, and only
// the one canonical URL may be cached for ever.
func TestInventedVersionsCauseNoWork(t *testing.T) {
	f := newTestShopWithHub(t, nil)
	all := f.stock(3)
	id, version := all[0].ID, all[0].Version
	now := time.Now().UnixMicro()
	ask := func(path string, status int, cached string) {
		t.Helper()
		r := f.ask("GET", path)
		if r.StatusCode() != status || status == 200 && string(r.Header.Peek("Cache-Control")) != cached {
			t.Errorf("%s: %d %s", path, r.StatusCode(), r.Header.Peek("Cache-Control"))
		}
	}
	work := func() (n int) {
		for _, name := range []string{"shelfcast_fragment_leases_total",
			"shelfcast_fragment_loads_total", "shelfcast_fragment_renders_total"} {
			families, err := f.metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				if family.GetName() == name {
					for _, m := range family.GetMetric() {
						n += int(m.GetCounter().GetValue())
					}
				}
			}
		}
		return n
	}
	ask(fmt.Sprintf("/fragments/card/%d?v=%d", id, version), 200, httpx.CacheForever)
	list := fmt.Sprintf("%d:%d:card,%d:%d:card", id, version, all[1].ID, all[1].Version)
	ask("/fragments?ids="+list, 200, httpx.CacheForever)
	before := work()
	if before == 0 {
		t.Fatal("work is not counted")
	}
	for i := range int64(20) {
		for _, made := range []int64{version + 1 + i, now + i,
			now + (time.Hour * 24 * 365).Microseconds() + i, 9e15 + i, 1<<63 - 1 - i} {
			ask(fmt.Sprintf("/fragments/card/%d?v=%d", id, made), 200, "no-cache")
			if made < 1<<53 {
				ask(fmt.Sprintf("/fragments?ids=%d:%d:card", id, made), 200, "no-cache")
				ask(fmt.Sprintf("/live/poll?watch=%d:%d:card", id, made), 200, "no-store")
				ask(fmt.Sprintf("/live/poll?mode=notify&watch=%d:%d:card", id, made), 200, "no-store")
			}
		}
		ask(fmt.Sprintf("/fragments/card/%d?v=%d&x=%d", id, version, i), 400, "")
		ask(fmt.Sprintf("/fragments/card/%d?v=%d&v=%d", id, version, i), 400, "")
		ask(fmt.Sprintf("/fragments?ids=%s&x=%d", list, i), 400, "")
	}
	for path, status := range map[string]int{
		"/fragments/card/0%d?v=%d": 400, "/fragments/card/%%2B%d?v=%d": 400,
		"/fragments/card/%d?v=0%d": 200, "/fragments/card/%d?v=%%2B%d": 200, "/fragments/Card/%d?v=%d": 404,
		"/fragments?ids=0%d:%d:card": 400, "/fragments?ids=%d:0%d:card": 400,
		"/fragments?ids=%d:%d:Card": 400, "/fragments?ids=%d%%3A%d:card": 200,
	} {
		ask(fmt.Sprintf(path, id, version), status, "no-cache")
	}
	// In another order.
	ask(fmt.Sprintf("/fragments?ids=%d:%d:card,%d:%d:card", all[1].ID, all[1].Version, id, version), 200, "no-cache")
	ask("/fragments?ids="+list+","+list, 400, "")
	ask("/live/poll?watch="+list+","+list, 400, "")
	if after := work(); after != before {
		t.Errorf("made-up versions and addresses made %d leases, loads and renders", after-before)
	}
	// One that is committed and that nobody has heard of is had all the same.
	edited, err := f.db.Update(t.Context(), all[0].Rev, parseEdit(t, `{"stock":1}`))
	if err != nil {
		t.Fatal(err)
	}
	ask(fmt.Sprintf("/fragments/card/%d?v=%d", id, edited.Version), 200, httpx.CacheForever)
}
