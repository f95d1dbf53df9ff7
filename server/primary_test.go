package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// refusable is a fleet with its own primary and replica, behind a switchable address,
// and a database user with only the rights of an instance.
type refusable struct {
	*fleet
	primary, replica *testkit.MySQLServer
	address          *testkit.Switch
	database         string
}

func startRefusable(t *testing.T) *refusable {
	t.Helper()
	r := &refusable{}
	r.primary, r.replica = testkit.StartMySQLPair(t)
	dsn := r.primary.Database(t)
	fleettest.DB(t, dsn)
	_, r.database, _ = strings.Cut(dsn, "/")
	r.as(r.primary, "CREATE USER shop IDENTIFIED BY 'secret'")
	for _, table := range []string{"products", "product_history", "tokens", "answers", "shop", "goose_db_version"} {
		r.as(r.primary, "GRANT SELECT, INSERT, UPDATE, DELETE ON DB."+table+" TO shop")
	}
	r.as(r.primary, "GRANT CREATE ON DB.* TO shop") // startFleetOn migrates
	r.address = testkit.NewSwitch(t, r.primary.Addr())
	r.fleet = startFleetOn(t, fmt.Sprintf("shop:secret@tcp(%s)/%s", r.address.Addr, r.database), nil)
	return r
}

// as runs a statement as root; DB stands for the database.
func (r *refusable) as(server *testkit.MySQLServer, statement string) {
	server.Exec(strings.ReplaceAll(statement, "DB", r.database))
}

// serves checks that the shop shows what it must always show.
func (r *refusable) serves(t *testing.T, what string) {
	t.Helper()
	for n := range r.instances {
		if status, _, page := call(t, "GET", r.public(n, "/shop"), "", nil); status != http.StatusOK ||
			!strings.Contains(page, "The lamp") {
			t.Errorf("%s: instance %d answers %d to /shop", what, n, status)
		}
	}
}

func (r *refusable) patch(t *testing.T, seen store.Rev, stock int) (int, string) {
	t.Helper()
	status, _, answer := r.admin(t, 0, "PATCH", fmt.Sprint("/api/v1/products/", seen.ID),
		fmt.Sprintf(`{"stock":%d}`, stock), http.Header{"If-Match": {etag(seen)}})
	return status, answer
}

// The old primary stays up, read-only. Edits continue at once on the new one, and a
// page on an instance without edits gets one that is not published.
func TestSwitchoverFailsNoEdit(t *testing.T) {
	t.Parallel()
	r := startRefusable(t)
	lamp, mug := r.product(t, "lamp"), r.product(t, "mug")
	page := r.shopper(t, 1, "")
	page.watch("card", lamp.Rev, mug.Rev)
	page.settled()
	r.serves(t, "before")

	testkit.Switchover(t, r.primary, r.replica)
	r.address.SetTarget(r.replica.Addr())
	for n := range 10 {
		status, answer := r.patch(t, lamp.Rev, 100+n)
		if status != http.StatusOK {
			t.Fatalf("edit %d after the switchover: %d %s", n, status, answer)
		}
		lamp = parse[store.Product](t, answer)
	}
	for page.next().Fragments[0].Rev != lamp.Rev {
	}
	there := fleettest.DB(t, r.replica.DSN(r.database))
	stock := int64(55)
	edited, err := there.Update(t.Context(), mug.Rev, store.Edit{Stock: &stock})
	if err != nil {
		t.Fatal(err)
	}
	if got := page.next().Fragments; got[0].Rev != edited.Rev {
		t.Errorf("the page has %+v, want %v", got, edited.Rev)
	}
	r.serves(t, "after")
}

// Whatever the server refuses, the shop is served from the cache, edits are answered
// with 503, and both recover.
func TestShopServesFromCacheWhenMySQLRefuses(t *testing.T) {
	t.Parallel()
	r := startRefusable(t)
	lamp := r.product(t, "lamp")
	r.serves(t, "before")
	for what, c := range map[string]struct{ begin, end string }{
		"a right is missing": {"REVOKE SELECT ON DB.products FROM shop", "GRANT SELECT ON DB.products TO shop"},
		"a password":         {"ALTER USER shop IDENTIFIED BY 'another'", "ALTER USER shop IDENTIFIED BY 'secret'"},
		"it only reads":      {"SET GLOBAL read_only=1", "SET GLOBAL read_only=0"},
		"a table is gone":    {"RENAME TABLE DB.products TO DB.away", "RENAME TABLE DB.away TO DB.products"},
		"too many queries":   {"ALTER USER shop WITH MAX_QUERIES_PER_HOUR 1", "ALTER USER shop WITH MAX_QUERIES_PER_HOUR 0"},
	} {
		r.as(r.primary, c.begin)
		if strings.HasPrefix(c.begin, "ALTER USER") {
			r.primary.KillUser("shop")
		}
		for range 3 {
			r.serves(t, what)
		}
		if status, answer := r.patch(t, lamp.Rev, int(lamp.Stock)+1); status != http.StatusServiceUnavailable {
			t.Errorf("%s: an edit is answered %d %s", what, status, answer)
		}
		r.as(r.primary, c.end)
		testkit.Eventually(t, what+": edits work again", func() bool {
			status, answer := r.patch(t, lamp.Rev, int(lamp.Stock)+1)
			if status == http.StatusOK {
				lamp = parse[store.Product](t, answer)
			}
			return status == http.StatusOK
		})
		for n := range r.instances { // to have something cached for the next case
			testkit.Eventually(t, what+": the shop has the edit", func() bool {
				status, _, _ := call(t, "GET", r.public(n, "/shop"), "", nil)
				return status == http.StatusOK
			})
		}
	}
}
