package server_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// An instance that starts with an outdated Redis answers with the committed versions,
// on every route. The edit is older than what the feed of a new instance reads.
func TestInstanceStartsWithStaleRedis(t *testing.T) {
	t.Parallel()
	for name, past := range map[string]func(redis *testkit.RedisServer){
		"it was restarted from an old dump": func(redis *testkit.RedisServer) { redis.Dump(); redis.Kill(); redis.Start() },
		"it is full":                        (*testkit.RedisServer).SimulateOOM,
		"it cannot save":                    (*testkit.RedisServer).FailSaves,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const hour = 3_600_000_000 // microseconds
			dsn := testkit.DSN(t)
			db, plain := fleettest.DB(t, dsn), testkit.SQL(t, dsn)
			price, err := store.ParsePrice("19.90")
			if err != nil {
				t.Fatal(err)
			}
			var all []store.Product
			for _, sku := range []string{"lamp", "mug"} {
				currency, published := "EUR", true
				p, err := db.Create(t.Context(),
					store.Edit{SKU: &sku, Title: &sku, Price: &price, Currency: &currency, Published: &published})
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, p)
			}
			if _, err := plain.Exec(`UPDATE products SET version = version - ?`, hour); err != nil {
				t.Fatal(err)
			}
			f := startFleetOn(t, dsn, nil)
			get := func(i *server.Instance, id int64) (answers []string) {
				t.Helper()
				at := "http://" + i.PublicAddr()
				for _, path := range []string{"/fragments/card/%d", "/fragments/detail/%d", "/shop/products/%d", "/shop"} {
					if strings.Contains(path, "%d") {
						path = fmt.Sprintf(path, id)
					}
					_, _, answer := call(t, "GET", at+path, "", nil)
					answers = append(answers, answer)
				}
				_, _, answer := call(t, "POST", at+"/product/tree/sync", fmt.Sprintf(`{"params":{"product_id":%d}}`, id), nil)
				return append(answers, answer)
			}
			for _, p := range all {
				get(f.instances[0], p.ID)
				get(f.instances[1], p.ID)
			}
			past(f.redis)
			_, err = plain.Exec(`UPDATE products SET version = version + 60000000, title = CONCAT('A newer ', sku)`)
			if err != nil {
				t.Fatal(err)
			}
			later, _ := fleettest.Run(t, f.settings(dsn), server.Options{Log: slog.New(slog.DiscardHandler)})
			for range 2 {
				for _, p := range all {
					for n, answer := range get(later, p.ID) {
						if !strings.Contains(answer, "A newer "+p.SKU) {
							t.Errorf("answer %d of %s is of the past: %.300s", n, p.SKU, answer)
						}
					}
				}
			}
		})
	}
}
