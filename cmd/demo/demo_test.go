package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/redis/go-redis/v9"

	"shelfcast/internal/liveclient"
	"shelfcast/store"
)

// Through a pool of one connection, the embedded database loses no edit of many
// concurrent authors.
func TestEmbeddedDatabaseLosesNoEdit(t *testing.T) {
	d, err := startDatabase()
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	db, err := store.Open(d.dsn(), store.Config{MaxOpen: 1, LockWait: -1, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := fill(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	revs, err := db.Storefront(t.Context(), store.StorefrontQuery{Limit: 100})
	if err != nil || len(revs) != len(catalogue) {
		t.Fatalf("%d products, %v", len(revs), err)
	}
	const authors, edits = 4, 10
	ids := []int64{revs[0].ID, revs[1].ID}
	before := stock(t, db, ids)
	var all sync.WaitGroup
	for n := range authors {
		all.Go(func() {
			for done := 0; done < edits; {
				p, err := db.Product(t.Context(), ids[n%2])
				if err != nil {
					t.Error(err)
					return
				}
				more := p.Stock + 1
				if _, err = db.Update(t.Context(), p.Rev, store.Edit{Stock: &more}); err == nil {
					done++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if got, want := stock(t, db, ids)-before, int64(authors*edits); got != want {
		t.Errorf("%d edits in the database, %d were acknowledged", got, want)
	}
}

func stock(t *testing.T, db *store.DB, ids []int64) (sum int64) {
	t.Helper()
	for _, id := range ids {
		p, err := db.Product(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		sum += p.Stock
	}
	return sum
}

func TestEmbeddedRedisExpiresKeys(t *testing.T) {
	c, err := startCache()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	options, err := redis.ParseURL(c.url())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(options)
	defer rdb.Close()
	if err := rdb.Set(t.Context(), "lease", "x", 150*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for rdb.Exists(t.Context(), "lease").Val() == 1 {
		if time.Now().After(deadline) {
			t.Fatal("it stands still")
		}
	}
}

func TestEveryProductHasAPicture(t *testing.T) {
	files := pictures()
	for _, p := range catalogue {
		f, err := files.Open("pictures/" + p.sku + ".svg")
		if err != nil {
			t.Fatal(err)
		}
		svg, _ := io.ReadAll(f)
		if drawings[p.drawing] == "" || bytes.ContainsAny(svg, "{}") {
			t.Errorf("%s: %s", p.sku, svg)
		}
	}
}

// As the README says of the demo, an edit through the admin API of one instance
// reaches a page of the other.
func TestDemoDeliversEditToOtherInstance(t *testing.T) {
	const token = "a token of the tests"
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	running, ended := make(chan demo), make(chan error, 1)
	anywhere := []string{"127.0.0.1:0", "127.0.0.1:0"}
	go func() {
		ended <- run(ctx, settings{Listen: anywhere, Admin: anywhere, AdminToken: token}, func(d demo) { running <- d })
	}()
	var d demo
	select {
	case d = <-running:
	case err := <-ended:
		t.Fatal(err)
	}
	var out strings.Builder
	d.print(&out)
	for _, s := range append(d.shops, d.admins[0], token, "nothing is kept") {
		if !strings.Contains(out.String(), s) {
			t.Errorf("it does not print %s", s)
		}
	}

	api := strings.TrimSuffix(d.admins[0], "/admin") + "/api/v1/products"
	var list struct{ Products []store.Product }
	request(t, "GET", api+"?limit=200", token, "", "", &list)
	if len(list.Products) != len(catalogue) {
		t.Fatalf("%d products", len(list.Products))
	}
	lamp := list.Products[0]

	address := "ws" + strings.TrimSuffix(strings.TrimPrefix(d.shops[1], "http"), "/shop") + "/live"
	conn, err := liveclient.Dial(ctx, ws.Dialer{}, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := conn.Watch("card", lamp.Rev); err != nil {
		t.Fatal(err)
	}
	var edited store.Product
	request(t, "PATCH", fmt.Sprint(api, "/", lamp.ID), token, fmt.Sprintf(`"%d"`, lamp.Version),
		`{"price":"66.60"}`, &edited)
	frame, err := conn.Next()
	if err != nil || len(frame.Fragments) != 1 || !strings.Contains(frame.Fragments[0].HTML, "66.60") ||
		frame.Fragments[0].Rev != edited.Rev {
		t.Errorf("got %+v, %v", frame, err)
	}
	batchCalls(t, api, token, edited, list.Products[1])
	for path, want := range map[string]string{
		"/shop?q=EMBER+lamp&vendor=Nordlicht": "Ember Table Lamp", "/shop?sort=-price": "Nomad",
		"/shop?sort=title&after=Zzz~1": `class="empty"`,
		"/sitemaps/products-1.xml":     fmt.Sprintf("/shop/products/%d<", lamp.ID),
	} {
		response, err := http.Get(strings.TrimSuffix(d.shops[0], "/shop") + path)
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(string(page), want) {
			t.Errorf("%s: %s, without %q: %s", path, response.Status, want, page)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// batchCalls makes calls that use more of the database than single rows: the
// embedded one must support them, too.
func batchCalls(t *testing.T, api, token string, lamp, mug store.Product) {
	t.Helper()
	var batch, repriced, refreshed, history map[string]any
	edits := fmt.Sprintf(`{"all_or_nothing":true,"edits":[{"id":%d,"version":%d,"set":{"stock":1}},`+
		`{"id":%d,"version":%d,"set":{"price":"10.00"}}]}`, lamp.ID, lamp.Version, mug.ID, mug.Version)
	request(t, "POST", api+":batch", token, "", edits, &batch)
	for range 2 { // the idempotency key is the same, so the call runs once
		request(t, "POST", api+":reprice", token, "", fmt.Sprintf(`{"filter":{"sku":%q},"percent":"50"}`, mug.SKU), &repriced)
	}
	request(t, "POST", api+":refresh", token, "", fmt.Sprintf(`{"ids":[%d]}`, lamp.ID), &refreshed)
	request(t, "GET", fmt.Sprint(api, "/", lamp.ID, "/history"), token, "", "", &history)
	request(t, "GET", fmt.Sprint(api, "/", mug.ID), token, "", "", &mug)
	if batch["made"] != 2.0 || repriced["changed"] != 1.0 || mug.Price.String() != "15.00" ||
		len(history["entries"].([]any)) != 4 {
		t.Errorf("%v, %v, %v, %v", batch, repriced, mug.Price, history)
	}
}

func request(t *testing.T, method, url, token, ifMatch, body string, into any) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("If-Match", ifMatch)
	r.Header.Set("Idempotency-Key", fmt.Sprintf("%x", sha256.Sum256([]byte(method+url+body))))
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, url, response.Status, answer)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatal(err)
	}
}
