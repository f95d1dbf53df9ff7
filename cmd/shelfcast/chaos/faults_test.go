package chaos

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// A fault is injected by begin and removed by end.
type fault struct {
	name           string
	short          bool // also part of the short form
	pausesDeadline bool // instances cannot read commits, so the deadline counts from its end
	cuts           bool // pages lose connections
	pausesEdits    bool // nobody edits meanwhile
	lasts          time.Duration
	begin          func(*scenario)
	end            func(*scenario) // nil: it ends by itself
}

// A scenario is an environment with products, and the record of their commits.
type scenario struct {
	*environment
	random *rand.Rand
	ledger *ledger
	ids    []int64
}

func (s *scenario) randomInstance() *fleettest.Instance {
	return s.instances[s.random.IntN(len(s.instances))]
}

// faults returns those of an environment with one Redis.
func faults() []fault {
	return []fault{
		{name: "nothing", short: true, lasts: 3 * time.Second, begin: func(*scenario) {}},
		{name: "Redis is killed, and comes back empty", short: true, lasts: 4 * time.Second,
			begin: func(s *scenario) { s.redis.Kill() },
			end:   func(s *scenario) { s.redis.Start() }},
		{name: "Redis hangs for 10 s", lasts: 10 * time.Second,
			begin: func(s *scenario) { s.redis.Pause() },
			end:   func(s *scenario) { s.redis.Resume() }},
		{name: "Redis forgets all (FLUSHALL)", lasts: time.Second,
			begin: func(s *scenario) { s.redisCommand("FLUSHALL") }},
		// The commits are older than what the feed of a new instance reads.
		{name: "Redis is restarted from a dump of 12 s ago, and then an instance", cuts: true, lasts: 12 * time.Second,
			begin: func(s *scenario) { s.redis.Dump(); s.commits(30) },
			end: func(s *scenario) {
				i := s.randomInstance()
				i.Kill()
				s.redis.Kill()
				s.redis.Start()
				i.Start()
				s.current(i)
			}},
		{name: "Redis's connections are cut", lasts: 2 * time.Second,
			begin: func(s *scenario) { s.toRedis.Stop() },
			end:   func(s *scenario) { s.start(s.toRedis) }},
		{name: "Redis is 500 ms away", lasts: 5 * time.Second,
			begin: func(s *scenario) { s.addLatency(s.toRedis, 500) },
			end:   func(s *scenario) { s.removeLatency(s.toRedis) }},
		{name: "the subscriptions are killed (CLIENT KILL)", short: true, lasts: time.Second,
			begin: func(s *scenario) { s.redisCommand("CLIENT KILL TYPE pubsub") }},
		{name: "MySQL hangs for 5 s", pausesDeadline: true, lasts: 5 * time.Second,
			begin: func(s *scenario) { s.mysql.Pause() },
			end:   func(s *scenario) { s.mysql.Resume() }},
		{name: "MySQL is killed, and comes back", short: true, pausesDeadline: true, lasts: 3 * time.Second,
			begin: func(s *scenario) { s.mysql.Kill() },
			end:   func(s *scenario) { s.mysql.Start() }},
		{name: "MySQL's connections are cut", pausesDeadline: true, lasts: 2 * time.Second,
			begin: func(s *scenario) { s.toMySQL.Stop() },
			end:   func(s *scenario) { s.start(s.toMySQL) }},
		{name: "the primary is switched, and the old one stays up", short: true, pausesDeadline: true, lasts: 3 * time.Second,
			begin: func(s *scenario) { s.switchover() }},
		{name: "the server's default becomes autocommit=0", pausesDeadline: true, lasts: 4 * time.Second,
			begin: func(s *scenario) {
				s.mysql.Exec("SET GLOBAL autocommit=0")
				s.toMySQL.Stop() // so that connections are made that have it
				s.start(s.toMySQL)
			},
			end: func(s *scenario) { s.mysql.Exec("SET GLOBAL autocommit=1") }},
		// A page that comes back may take four round trips: who asks waits for the
		// question before, and then for the row.
		{name: "MySQL is 200 ms away", lasts: 5 * time.Second,
			begin: func(s *scenario) { s.addLatency(s.toMySQL, 200) },
			end:   func(s *scenario) { s.removeLatency(s.toMySQL) }},
		{name: "an instance is killed, and replaced", short: true, cuts: true, lasts: 2 * time.Second,
			begin: func(s *scenario) {
				i := s.randomInstance()
				i.Kill()
				i.Start()
			}},
		{name: "a rolling restart", cuts: true, lasts: time.Second,
			begin: func(s *scenario) {
				for _, i := range s.instances {
					s.renders.of(s.instances)
					i.Stop()
					i.Start()
				}
			}},
		{name: "the load balancer cuts all", cuts: true, lasts: time.Second,
			begin: func(s *scenario) { s.balancer.Kill(); s.balancer.Start() }},
		// For longer than the feed looks back: only what a page asks when it comes
		// back finds what it has missed.
		{name: "the load balancer is gone for 12 s, commits go on", cuts: true, lasts: 12 * time.Second,
			begin: func(s *scenario) { s.balancer.Kill(); s.commits(10) },
			end:   func(s *scenario) { s.balancer.Start() }},
		{name: "commits that nobody publishes", short: true, lasts: 3 * time.Second,
			begin: func(s *scenario) { s.commits(10) }},
		{name: "plain SQL, with the triggers", short: true, pausesEdits: true, lasts: 3 * time.Second,
			begin: func(s *scenario) {
				s.sql("UPDATE products SET title = CONCAT('The ', sku, ', by hand'), published = 1 WHERE id % 3 = ?",
					s.random.IntN(3))
				s.recordMatching(func(p store.Product) bool { return strings.HasSuffix(p.Title, "by hand") })
			}},
		{name: "a transaction of 15 s commits", pausesEdits: true, lasts: 3 * time.Second,
			begin: func(s *scenario) {
				tx, err := s.plain.Begin()
				if err != nil {
					s.t.Fatal(err)
				}
				for _, statement := range []string{
					"UPDATE products SET title = CONCAT('The ', sku, ', at last'), published = 1 WHERE id % 3 = 1",
					"DO SLEEP(15)"} {
					if _, err := tx.Exec(statement); err != nil {
						s.t.Fatal(err)
					}
				}
				if err := tx.Commit(); err != nil {
					s.t.Fatal(err)
				}
				s.recordMatching(func(p store.Product) bool { return strings.HasSuffix(p.Title, "at last") })
			}},
		{name: "the database is restored from a backup", short: true, pausesEdits: true,
			pausesDeadline: true, lasts: time.Second,
			begin: func(s *scenario) {
				s.sql("DROP TABLE products")
				s.sql("RENAME TABLE backup TO products")
				if err := s.db.InstallTriggers(context.Background()); err != nil {
					s.t.Fatal(err)
				}
				s.ledger.mu.Lock()
				s.ledger.timeline++
				s.ledger.mu.Unlock()
				s.recordMatching(func(store.Product) bool { return true })
			}},
	}
}

// failover returns the faults of an environment with sentinels.
func failover() []fault {
	return []fault{
		{name: "nothing, with sentinels", lasts: time.Second, begin: func(*scenario) {}},
		{name: "Redis fails over (Sentinel)", short: true, lasts: 8 * time.Second,
			begin: func(s *scenario) { s.sentinel.Primary.Kill() }},
	}
}

// lag returns the faults of an environment on two nodes of Galera.
func lag() []fault {
	var backup *sql.Conn
	return []fault{
		{name: "nothing, with two nodes", lasts: 2 * time.Second, begin: func(*scenario) {}},
		// As for a backup: it goes on taking what the other commits, and applies nothing.
		// Its instance has what the others make; what only its own pages show, it has
		// when the node is back.
		{name: "a node of Galera lags by 25 s", lasts: 25 * time.Second, pausesDeadline: true,
			begin: func(s *scenario) {
				s.standby.Exec("SET GLOBAL wsrep_desync=ON")
				var err error
				if backup, err = testkit.SQL(s.t, s.standby.DSN("")).Conn(s.t.Context()); err != nil {
					s.t.Fatal(err)
				}
				s.locks(backup, "FLUSH TABLES WITH READ LOCK")
			},
			end: func(s *scenario) {
				s.locks(backup, "UNLOCK TABLES")
				s.standby.Exec("SET GLOBAL wsrep_desync=OFF")
			}},
	}
}

func (s *scenario) locks(conn *sql.Conn, statement string) {
	s.t.Helper()
	if _, err := conn.ExecContext(s.t.Context(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// commits makes commits that are not published.
func (s *scenario) commits(count int) {
	s.t.Helper()
	for range count {
		p, err := s.db.Product(context.Background(), s.ids[s.random.IntN(len(s.ids))])
		if err != nil {
			s.t.Fatal(err)
		}
		title := fmt.Sprintf("The %s, in silence %d", p.SKU, s.random.IntN(1000))
		p, err = s.db.Update(context.Background(), p.Rev, store.Edit{Title: &title})
		switch {
		case err == nil:
			s.ledger.record(p)
		case !errors.Is(err, store.ErrArchived) && !errors.Is(err, store.ErrConflict): // an editor was first
			s.t.Fatal(err)
		}
	}
}

// backup copies the products table.
func (s *scenario) backup() {
	s.sql("CREATE TABLE backup LIKE products")
	s.sql("INSERT INTO backup SELECT * FROM products")
}

func (s *scenario) sql(query string, args ...any) {
	s.t.Helper()
	if _, err := s.plain.Exec(query, args...); err != nil {
		s.t.Fatal(err)
	}
}

// recordMatching records the current versions of the products for which those is true.
func (s *scenario) recordMatching(those func(store.Product) bool) {
	s.t.Helper()
	for _, id := range s.ids {
		p, err := s.db.Product(context.Background(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if those(p) {
			s.ledger.record(p)
		}
	}
}

func (s *scenario) start(p *toxiproxy.Proxy) {
	s.t.Helper()
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// addLatency delays each answer by so many milliseconds.
func (s *scenario) addLatency(p *toxiproxy.Proxy, late int) {
	s.t.Helper()
	toxic := fmt.Sprintf(`{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":%d}}`, late)
	_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scenario) removeLatency(p *toxiproxy.Proxy) {
	s.t.Helper()
	if err := p.Toxics.RemoveToxic(context.Background(), "slow"); err != nil {
		s.t.Fatal(err)
	}
}

// redisCommand sends a command to Redis, without the proxy.
func (s *scenario) redisCommand(command string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.redis.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 64)
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		s.t.Fatal(err)
	}
	if n, err := conn.Read(answer); err != nil || answer[0] == '-' {
		s.t.Fatalf("%s: %v %s", command, err, answer[:n])
	}
}
