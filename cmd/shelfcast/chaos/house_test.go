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

// startHouse starts all of it, which ends with the test.
func startHouse(t testing.TB, binary string, withSentinel bool) *house {
	t.Helper()
	h := &house{t: t, mysql: storetest.StartMySQL(t)}
	dsn := h.mysql.Database(t)
	h.db = fleettest.DB(t, dsn)
	if err := h.db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.plain = storetest.SQL(t, dsn)
	host, name, _ := strings.Cut(strings.TrimPrefix(dsn, "root@tcp("), ")/")
	h.toMySQL = proxy(t, "mysql", host)
	dsn = fmt.Sprintf("root@tcp(%s)/%s", h.toMySQL.Listen, name)

	var url string
	if withSentinel {
		h.sentinel = storetest.StartSentinel(t)
		url = h.sentinel.URL()
	} else {
		h.redis = storetest.StartRedis(t)
		h.toRedis = proxy(t, "redis", h.redis.Addr())
		url = "redis://" + h.toRedis.Listen
	}
	for n := range 3 {
		i := fleettest.Start(t, binary, "SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+url, "SHELFCAST_TRUSTED_PROXIES=127.0.0.1",
			"SHELFCAST_PAGE_SIZE=8", "SHELFCAST_DRAIN=2s", fmt.Sprint("SHELFCAST_SHOP_NAME=Shop ", n))
		h.instances = append(h.instances, &instance{Instance: i})
	}
	h.balance(t)
	return h
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
