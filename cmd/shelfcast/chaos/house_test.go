// Package chaos has the test that breaks things: see TestChaos.
package chaos

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m, fleettest.Clean) }

// A house is three instances behind a load balancer, on one database and one
// Redis, which they reach through proxies that can be cut and slowed down.
type house struct {
	t        testing.TB
	mysql    *storetest.MySQLServer
	redis    *storetest.RedisServer // nil with sentinels
	sentinel *storetest.Sentinel    // or nil

	dsn              string
	db               *store.DB // the database itself, for what passes by the instances
	plain            *sql.DB   // and by our own code
	toMySQL, toRedis *toxiproxy.Proxy

	instances     []*instance
	balancer      *storetest.Server
	public, admin string // origins, of the load balancer
}

// An instance counts what it has rendered.
type instance struct {
	*fleettest.Instance
	rendered float64
	before   float64 // what those processes had rendered that are gone
}

// newHouse starts what the instances stand on, which ends with the test: first there
// is stock (scene.stock), then they serve it.
func newHouse(t testing.TB, withSentinel bool) *house {
	t.Helper()
	h := &house{t: t, mysql: storetest.StartMySQL(t)}
	h.dsn = h.mysql.Database(t)
	h.db = fleettest.DB(t, h.dsn)
	if err := h.db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.plain = storetest.SQL(t, h.dsn)
	if withSentinel {
		h.sentinel = storetest.StartSentinel(t)
	} else {
		h.redis = storetest.StartRedis(t)
	}
	return h
}

// serve starts the instances and the load balancer, which looks at the shop at once:
// an instance takes a list of products to be what it was for a second, and so a page
// that came just then would be of an empty shop if there was no stock yet.
func (h *house) serve(binary string) {
	h.t.Helper()
	host, name, _ := strings.Cut(strings.TrimPrefix(h.dsn, "root@tcp("), ")/")
	h.toMySQL = proxy(h.t, "mysql", host)
	dsn := fmt.Sprintf("root@tcp(%s)/%s", h.toMySQL.Listen, name)
	var url string
	if h.sentinel != nil {
		url = h.sentinel.URL()
	} else {
		h.toRedis = proxy(h.t, "redis", h.redis.Addr())
		url = "redis://" + h.toRedis.Listen
	}
	for n := range 3 {
		i := fleettest.Start(h.t, binary, "SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+url, "SHELFCAST_TRUSTED_PROXIES=127.0.0.1",
			"SHELFCAST_PAGE_SIZE=8", "SHELFCAST_DRAIN=2s", fmt.Sprint("SHELFCAST_SHOP_NAME=Shop ", n))
		h.instances = append(h.instances, &instance{Instance: i})
	}
	h.balance(h.t)
}

func proxy(t testing.TB, name, upstream string) *toxiproxy.Proxy {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), name, "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// balance starts the load balancer of our example, which has the admin apps too
// here.
func (h *house) balance(t testing.TB) {
	t.Helper()
	var instances []*fleettest.Instance
	var tiers []string
	for _, i := range h.instances {
		instances, tiers = append(instances, i.Instance), append(tiers, i.Public)
	}
	section, admin := fleettest.AdminSection(t, instances...)
	b := fleettest.HAProxy(t, fleettest.Config{Tiers: tiers, Check: 250 * time.Millisecond, More: section})
	h.balancer, h.public, h.admin = b.Server, "http://"+b.Addr, "http://"+admin
}

// rendered is how many fragments the fleet has made; what a process made after
// it was last asked, and before it was killed, is not in it.
func (h *house) rendered() (sum float64) {
	for _, i := range h.instances {
		now := i.Metric("shelfcast_fragment_renders_total")
		if now < i.rendered {
			i.before += i.rendered
		}
		i.rendered = now
		sum += i.before + now
	}
	return sum
}
