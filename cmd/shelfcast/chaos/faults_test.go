package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"

	"shelfcast/store"
)

// A fault is something that goes wrong in a house, and is taken back.
type fault struct {
	name    string
	short   bool // it is in the short form of the suite too
	excuses bool // while it lasts nobody can know what is committed
	cuts    bool // connections of pages are lost
	quiet   bool // nobody edits meanwhile
	lasts   time.Duration
	begin   func(*scene)
	end     func(*scene) // nil: it is over by itself
}

// A scene is where faults happen.
type scene struct {
	*house
	random *rand.Rand
	ledger *ledger
	ids    []int64
}

func (s *scene) someone() *instance { return s.instances[s.random.IntN(len(s.instances))] }

// faults are those of a house with one Redis.
func faults() []fault {
	return []fault{
		{name: "nothing", short: true, lasts: 3 * time.Second, begin: func(*scene) {}},
		{name: "Redis is killed, and comes back empty", short: true, lasts: 4 * time.Second,
			begin: func(s *scene) { s.redis.Kill() },
			end:   func(s *scene) { s.redis.Start() }},
		{name: "Redis hangs for 10 s", lasts: 10 * time.Second,
			begin: func(s *scene) { s.redis.Pause() },
			end:   func(s *scene) { s.redis.Resume() }},
		{name: "Redis forgets all (FLUSHALL)", lasts: time.Second,
			begin: func(s *scene) { s.tellRedis("FLUSHALL") }},
		{name: "Redis's connections are cut", lasts: 2 * time.Second,
			begin: func(s *scene) { s.toRedis.Stop() },
			end:   func(s *scene) { s.start(s.toRedis) }},
		{name: "Redis is 500 ms away", lasts: 5 * time.Second,
			begin: func(s *scene) { s.slow(s.toRedis, 500) },
			end:   func(s *scene) { s.swift(s.toRedis) }},
		{name: "the subscriptions are killed (CLIENT KILL)", short: true, lasts: time.Second,
			begin: func(s *scene) { s.tellRedis("CLIENT KILL TYPE pubsub") }},
		{name: "MySQL hangs for 5 s", excuses: true, lasts: 5 * time.Second,
			begin: func(s *scene) { s.mysql.Pause() },
			end:   func(s *scene) { s.mysql.Resume() }},
		{name: "MySQL is killed, and comes back", short: true, excuses: true, lasts: 3 * time.Second,
			begin: func(s *scene) { s.mysql.Kill() },
			end:   func(s *scene) { s.mysql.Start() }},
		{name: "MySQL's connections are cut", excuses: true, lasts: 2 * time.Second,
			begin: func(s *scene) { s.toMySQL.Stop() },
			end:   func(s *scene) { s.start(s.toMySQL) }},
		// A page that comes back may take four round trips: who asks waits for the
		// question before, and then for the row.
		{name: "MySQL is 200 ms away", lasts: 5 * time.Second,
			begin: func(s *scene) { s.slow(s.toMySQL, 200) },
			end:   func(s *scene) { s.swift(s.toMySQL) }},
		{name: "an instance is killed, and replaced", short: true, cuts: true, lasts: 2 * time.Second,
			begin: func(s *scene) {
				i := s.someone()
				i.Kill()
				i.Start()
			}},
		{name: "a rolling restart", cuts: true, lasts: time.Second,
			begin: func(s *scene) {
				for _, i := range s.instances {
					s.rendered()
					i.Stop()
					i.Start()
				}
			}},
		{name: "the load balancer cuts all", cuts: true, lasts: time.Second,
			begin: func(s *scene) { s.balancer.Kill(); s.balancer.Start() }},
		// For longer than the feed looks back: only what a page asks when it comes
		// back finds what it has missed.
		{name: "the load balancer is gone for 12 s, commits go on", cuts: true, lasts: 12 * time.Second,
			begin: func(s *scene) { s.balancer.Kill(); s.commits(10) },
			end:   func(s *scene) { s.balancer.Start() }},
		{name: "commits that nobody publishes", short: true, lasts: 3 * time.Second,
			begin: func(s *scene) { s.commits(10) }},
		{name: "plain SQL, with the triggers", short: true, quiet: true, lasts: 3 * time.Second,
			begin: func(s *scene) {
				s.sql("UPDATE products SET title = CONCAT('The ', sku, ', by hand'), published = 1 WHERE id % 3 = ?", s.random.IntN(3))
				s.noteAll(func(p store.Product) bool { return strings.HasSuffix(p.Title, "by hand") })
			}},
		{name: "the database is restored from a backup", short: true, quiet: true, excuses: true, lasts: time.Second,
			begin: func(s *scene) {
				s.sql("DROP TABLE products")
				s.sql("RENAME TABLE backup TO products")
				if err := s.db.InstallTriggers(context.Background()); err != nil {
					s.t.Fatal(err)
				}
				s.ledger.mu.Lock()
				s.ledger.lineup++
				s.ledger.mu.Unlock()
				s.noteAll(func(store.Product) bool { return true })
			}},
	}
}

// failover is for a house with sentinels.
func failover() []fault {
	return []fault{
		{name: "nothing, with sentinels", lasts: time.Second, begin: func(*scene) {}},
		{name: "Redis fails over (Sentinel)", short: true, lasts: 8 * time.Second, begin: func(s *scene) { s.sentinel.Primary.Kill() }},
	}
}

// commits makes some that no instance is told of.
func (s *scene) commits(count int) {
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
			s.ledger.note(p)
		case !errors.Is(err, store.ErrArchived) && !errors.Is(err, store.ErrConflict): // an editor was first
			s.t.Fatal(err)
		}
	}
}

// backup keeps the products as they are now.
func (s *scene) backup() {
	s.sql("CREATE TABLE backup LIKE products")
	s.sql("INSERT INTO backup SELECT * FROM products")
}

func (s *scene) sql(query string, args ...any) {
	s.t.Helper()
	if _, err := s.plain.Exec(query, args...); err != nil {
		s.t.Fatal(err)
	}
}

// noteAll puts the products that are so into the ledger, as they are now.
func (s *scene) noteAll(those func(store.Product) bool) {
	s.t.Helper()
	for _, id := range s.ids {
		p, err := s.db.Product(context.Background(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if those(p) {
			s.ledger.note(p)
		}
	}
}

func (s *scene) start(p *toxiproxy.Proxy) {
	s.t.Helper()
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// slow makes each answer so many milliseconds late.
func (s *scene) slow(p *toxiproxy.Proxy, late int) {
	s.t.Helper()
	toxic := fmt.Sprintf(`{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":%d}}`, late)
	_, err := p.Toxics.AddToxicJson(strings.NewReader(toxic))
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) swift(p *toxiproxy.Proxy) {
	s.t.Helper()
	if err := p.Toxics.RemoveToxic(context.Background(), "slow"); err != nil {
		s.t.Fatal(err)
	}
}

// tellRedis has Redis do something, without the proxy.
func (s *scene) tellRedis(command string) {
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
