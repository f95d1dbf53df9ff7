package attack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// An environment is what is attacked: two processes of the program on one MariaDB
// and one Redis, with a catalogue.
type environment struct {
	t         testing.TB
	mysql     *testkit.MySQLServer
	instances []*fleettest.Instance
	target    target
	staff     string // a token that attackers do not have

	median, worst [3]time.Duration // longest waits of bystanders without an attack, by kind
}

// A target is what an attacker knows, which is more than a real one would.
type target struct {
	Public, Admin []string // host:port of each instance
	Products      int      // published, with the ids 1 to Products
	Large         int      // the first of them have descriptions of 20 kB
	Draft         int64    // an id of a product that was never published
	Reader        string   // a token that may only read
	Writer        string   // a token that may read and write products
	Root          string   // the token of the settings
}

const large = 500

// start starts the environment, which ends with the test.
func start(t testing.TB, products int) *environment {
	t.Helper()
	env := &environment{t: t, mysql: testkit.StartMySQL(t)}
	dsn := env.mysql.Database(t)
	db := fleettest.DB(t, dsn)
	createCatalogue(t, dsn, products)
	redis := testkit.StartRedis(t)
	binary := fleettest.BuildToMeasure(t)
	env.target = target{Products: products, Large: large, Draft: int64(products) + 1, Root: fleettest.Token}
	for name, token := range map[string]struct {
		scope string
		to    *string
	}{
		"reader": {store.ReadProducts, &env.target.Reader}, "writer": {store.WriteProducts, &env.target.Writer},
		"staff": {store.WriteProducts, &env.staff},
	} {
		_, secret, err := db.CreateToken(t.Context(), name, []string{token.scope}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		*token.to = secret
	}
	for n := range 2 {
		// Only one instance is given a public URL, which makes it serve sitemaps. The other
		// must not take a host name from its visitors.
		url := []string{"http://shop.example", ""}[n]
		i := fleettest.Start(t, binary, "SHELFCAST_PUBLIC_URL="+url, "SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+redis.URL(),
			"SHELFCAST_DRAIN_TIME=1s", "SHELFCAST_FRAGMENT_MEMORY=32")
		env.instances = append(env.instances, i)
		env.target.Public = append(env.target.Public, i.Public)
		env.target.Admin = append(env.target.Admin, i.Admin)
	}
	return env
}

// createCatalogue inserts the products, and one that was never published.
func createCatalogue(t testing.TB, dsn string, products int) {
	t.Helper()
	db := testkit.SQL(t, dsn)
	long := strings.Repeat("<p>"+strings.Repeat("A long text about a lamp. ", 38)+"</p>", 20)
	const row = "(?, ?, ?, ?, ?, 'Kiln and Co', '', 19.90, 'EUR', 7, ?, UTC_TIMESTAMP(6))"
	const at = 500
	now := time.Now().UnixMicro()
	for first := 1; first <= products+1; first += at {
		var rows []string
		var values []any
		for id := first; id < first+at && id <= products+1; id++ {
			description := "<p>Short</p>"
			if id <= large {
				description = long
			}
			rows = append(rows, row)
			values = append(values, id, now+int64(id), fmt.Sprint("thing-", id),
				fmt.Sprintf("The %s lamp %d", adjectives[id%len(adjectives)], id), description, id <= products)
		}
		_, err := db.ExecContext(t.Context(), `
			INSERT INTO products (id, version, sku, title, description, vendor, image_url, price, currency, stock,
				published, created_at)
			VALUES `+strings.Join(rows, ", "), values...)
		if err != nil {
			t.Fatal(err)
		}
	}
}

var adjectives = []string{"amber", "brass", "copper", "dark", "early", "fine", "green", "high", "iron", "jade",
	"kind", "low", "mild"}
