// Package chaos tests a fleet under faults: see TestChaos.
package chaos

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) { testkit.Main(m, fleettest.Clean) }

// An environment is three instances behind a load balancer, on one database and
// one Redis, which they reach through proxies that can be cut and slowed down.
type environment struct {
	t        testing.TB
	mysql    *testkit.MySQLServer // the primary
	standby  *testkit.MySQLServer // its replica, or the primary before; with Galera the second instance's node
	address  *testkit.Switch      // leads to the primary
	redis    *testkit.RedisServer // nil with sentinels
	sentinel *testkit.Sentinel    // or nil

	database         string    // its name
	db               *store.DB // the primary, without an instance
	plain            *sql.DB   // the same, without the store
	toMySQL, toRedis *toxiproxy.Proxy

	galera        bool
	instances     []*fleettest.Instance
	renders       *total // without those between the last scrape of a process and its kill
	alarms        *total // of a database that lost versions
	balancer      *testkit.Server
	public, admin string // origins, of the load balancer
}

// A total sums counters of all instances, across restarts of their processes.
type total struct {
	names  []string
	last   map[*fleettest.Instance]float64
	before float64 // sum of the processes that have ended
}

func newTotal(names ...string) *total {
	return &total{names: names, last: map[*fleettest.Instance]float64{}}
}

func (t *total) of(all []*fleettest.Instance) (sum float64) {
	for _, i := range all {
		now := 0.0
		for _, name := range t.names {
			now += i.Metric(name)
		}
		if now < t.last[i] {
			t.before += t.last[i]
		}
		t.last[i] = now
		sum += now
	}
	return t.before + sum
}

// Kinds of environment.
const (
	oneRedis = "one Redis"
	sentinel = "Sentinel"
	galera   = "Galera" // with one Redis
)

// newEnvironment starts what the instances stand on, which ends with the test: first there
// is stock (scenario.createProducts), then they serve it.
func newEnvironment(t testing.TB, kind string) *environment {
	t.Helper()
	env := &environment{
		t: t, galera: kind == galera,
		renders: newTotal("shelfcast_fragment_renders_total"),
		alarms:  newTotal("shelfcast_database_rollbacks_total", "shelfcast_lost_versions_total"),
	}
	if env.galera {
		env.mysql, env.standby = testkit.StartGalera(t)
	} else {
		env.mysql, env.standby = testkit.StartMySQLPair(t)
	}
	_, env.database, _ = strings.Cut(env.mysql.Database(t), "/")
	// A user with SUPER could write to a read-only server.
	env.mysql.Exec("CREATE USER shop IDENTIFIED BY 'secret'")
	env.mysql.Exec("GRANT PROCESS ON *.* TO shop")
	env.mysql.Exec("GRANT ALL ON " + env.database + ".* TO shop")
	env.address = testkit.NewSwitch(t, env.mysql.Addr())
	env.open()
	if err := env.db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kind == sentinel {
		env.sentinel = testkit.StartSentinel(t)
	} else {
		env.redis = testkit.StartRedis(t)
	}
	return env
}

// dsn returns the DSN of the database at the address of a server or a proxy.
func (env *environment) dsn(at string) string {
	return fmt.Sprintf("shop:secret@tcp(%s)/%s", at, env.database)
}

// open connects to the primary directly.
func (env *environment) open() {
	env.t.Helper()
	env.db = fleettest.DB(env.t, env.dsn(env.mysql.Addr()))
	env.plain = testkit.SQL(env.t, env.dsn(env.mysql.Addr()))
}

// switchover makes the replica the primary. The old primary keeps its connections
// and becomes read-only.
func (env *environment) switchover() {
	env.t.Helper()
	testkit.Switchover(env.t, env.mysql, env.standby)
	env.address.SetTarget(env.standby.Addr())
	env.mysql, env.standby = env.standby, env.mysql
	env.open()
}

// serve starts the instances and the load balancer. Products must exist by then:
// the load balancer's probe requests the shop, an instance caches lists for a second,
// and a page loaded then would show an empty shop.
func (env *environment) serve(binary string) {
	env.t.Helper()
	env.toMySQL = proxy(env.t, "mysql", env.address.Addr)
	var url, dsn string
	if env.sentinel != nil {
		url = env.sentinel.URL()
	} else {
		env.toRedis = proxy(env.t, "redis", env.redis.Addr())
		url = "redis://" + env.toRedis.Listen
	}
	for n := range 3 {
		if env.galera && n == 1 {
			dsn = env.dsn(proxy(env.t, "its node", env.standby.Addr()).Listen)
		} else {
			dsn = env.dsn(env.toMySQL.Listen)
		}
		// All browsers share one address, so limits per address are off.
		i := fleettest.Start(env.t, binary, "SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+url,
			"SHELFCAST_TRUSTED_PROXIES=127.0.0.1", "SHELFCAST_SEARCHES_PER_MINUTE=0",
			"SHELFCAST_NEW_SESSIONS_PER_SECOND_PER_ADDRESS=0", "SHELFCAST_PAGE_SIZE=8", "SHELFCAST_DRAIN_TIME=2s",
			fmt.Sprint("SHELFCAST_SHOP_NAME=Shop ", n))
		env.instances = append(env.instances, i)
	}
	env.balance(env.t)
}

func proxy(t testing.TB, name, upstream string) *toxiproxy.Proxy {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), name,
		"127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// balance starts the load balancer of deploy/haproxy, with the admin apps added.
func (env *environment) balance(t testing.TB) {
	t.Helper()
	var addresses []string
	for _, i := range env.instances {
		addresses = append(addresses, i.Public)
	}
	section, admin := fleettest.AdminSection(t, env.instances...)
	b := fleettest.HAProxy(t, fleettest.Config{Instances: addresses, Check: 250 * time.Millisecond, More: section})
	env.balancer, env.public, env.admin = b.Server, "http://"+b.Addr, "http://"+admin
}
