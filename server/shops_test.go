package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// keysOf returns the Redis keys of the shop in a database.
func keysOf(t testing.TB, db *store.DB) store.Keys {
	t.Helper()
	shop := store.NewShop()
	if err := shop.LoadID(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	keys, err := shop.Keys()
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// channel returns the channel on which the fleet publishes changes.
func (f *fleet) channel(t testing.TB) string {
	t.Helper()
	return keysOf(t, f.db).Channel()
}

// Two shops share a Redis without any settings: neither sees the other's fragments,
// edits, rate limits, pages or broadcasts, and each key and channel belongs to one
// shop.
func TestShopsShareARedis(t *testing.T) {
	t.Parallel()
	shared := testkit.StartRedis(t)
	monitor := watchRedis(t, shared)
	const calls = 12
	var shops [2]*fleet
	var dsns [2]string
	var keys [2]store.Keys
	for n := range shops {
		dsns[n] = testkit.DSN(t)
		shops[n] = startFleetOn(t, dsns[n], func(s *server.Settings) {
			once(s)
			s.Redis, s.AdminCalls, s.Searches = shared.URL(), calls, 100
		})
		keys[n] = keysOf(t, shops[n].db)
	}
	a, b := shops[0], shops[1]

	// Products of the same ids; the ones of b have the newer versions.
	lamp := a.product(t, "lamp")
	mug := b.product(t, "mug")
	if lamp.ID != mug.ID {
		t.Fatal(lamp.ID, mug.ID)
	}
	page := a.shopper(t, 1, "")
	page.watch("card", lamp.Rev)
	page.settled()
	other := b.shopper(t, 1, "")
	other.watch("card", mug.Rev)
	other.settled()
	odoo := odooAt(t, b.instances[0].PublicAddr())
	odoo.subscribe(0, "product_updates")
	odoo.hears(mug.ID)

	mug = b.edit(t, 0, mug.Rev, `{"price":"5.00"}`)
	if got := other.next().Fragments; len(got) != 1 || got[0].Rev != mug.Rev {
		t.Errorf("an edit: %+v", got)
	}
	odoo.hears(mug.ID)
	for n, want := range []string{"The lamp", "The mug"} {
		for i := range shops[n].instances {
			fragment := fmt.Sprintf("http://%s/fragments/card/%d", shops[n].instances[i].PublicAddr(), lamp.ID)
			_, _, body := call(t, "GET", fragment, "", nil)
			if !strings.Contains(body, want) {
				t.Errorf("shop %d shows what is not its own: %s", n, body)
			}
			call(t, "GET", "http://"+shops[n].instances[i].PublicAddr()+"/shop?q="+want[4:], "", nil) // uses a rate limit
		}
	}
	status, _, body := a.admin(t, 0, "GET", fmt.Sprint("/api/v1/pages?ids=", lamp.ID), "", nil)
	if status != http.StatusOK || !strings.Contains(body, `"pages":1,`) || !strings.Contains(body, `"instances":2`) {
		t.Errorf("pages of the other shop are counted: %d %s", status, body)
	}
	status, _, body = a.admin(t, 0, "POST", "/api/v1/odoo/broadcasts", `{"type":"hello","payload":{}}`, nil)
	if status != http.StatusOK || !strings.Contains(body, `"instances":2`) {
		t.Errorf("a broadcast was heard by the other shop: %d %s", status, body)
	}

	// The admin token of the settings is the same in both.
	for range calls {
		a.admin(t, 0, "GET", "/api/v1/products", "", nil)
	}
	if status, _, _ := a.admin(t, 1, "GET", "/api/v1/products", "", nil); status != http.StatusTooManyRequests {
		t.Errorf("a limit that was used up: %d", status)
	}
	if status, _, _ := b.admin(t, 1, "GET", "/api/v1/products", "", nil); status != http.StatusOK {
		t.Errorf("one shop has used up the limit of the other: %d", status)
	}

	// The pages of the first shop were sent nothing of the second.
	if _, err := testkit.SQL(t, dsns[0]).Exec(`UPDATE products SET version = version + 1, price = 1`); err != nil {
		t.Fatal(err)
	}
	if got := page.next().Fragments; len(got) != 1 || got[0].Version != lamp.Version+1 {
		t.Errorf("the other shop's edit was told: %+v, and not %d", got, lamp.Version+1)
	}
	names := monitor()
	for kind, least := range map[string]int{"fragment:": 2, "current:": 2, "lease:": 2, "ratelimit:calls:": 2,
		"ratelimit:searches:": 2, "inbox:": 4, "watcher-count": 2, "broadcast": 2} {
		found := 0
		for name := range names {
			if strings.Contains(name, kind) {
				found++
			}
		}
		if found < least {
			t.Errorf("only %d names with %s were used: %v", found, kind, names)
		}
	}
	for name, command := range names {
		own := false
		for _, k := range keys {
			own = own || strings.HasPrefix(name, k.Key("")) || name == k.Channel() ||
				strings.HasPrefix(name, k.SiblingChannel(""))
		}
		if !own {
			t.Errorf("%s names %s, which is no shop's", command, name)
		}
	}
	rdb := redis.NewClient(&redis.Options{Addr: shared.Addr()})
	defer rdb.Close()
	for _, name := range append(rdb.Keys(t.Context(), "*").Val(), rdb.PubSubChannels(t.Context(), "*").Val()...) {
		if _, seen := names[name]; !seen {
			t.Errorf("%s is in Redis, and was not seen to get there", name)
		}
	}
}

// watchRedis records all commands. end stops it, and returns the keys and channels
// that were used, each with one of its commands.
func watchRedis(t *testing.T, server *testkit.RedisServer) (end func() map[string]string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	_, err = io.WriteString(conn, "MONITOR\r\n")
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	if err != nil || !lines.Scan() || lines.Text() != "+OK" {
		close(done)
		t.Fatal(err, lines.Text(), lines.Err())
	}
	const last = "the watch ends"
	named := make(chan map[string]string, 1)
	go func() {
		defer close(done)
		names := map[string]string{}
		for lines.Scan() && !strings.Contains(lines.Text(), last) {
			for _, name := range namesIn(t, lines.Text()) {
				names[name] = lines.Text()
			}
		}
		named <- names
	}()
	return func() map[string]string {
		rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer rdb.Close()
		if err := rdb.Echo(t.Context(), last).Err(); err != nil {
			t.Fatal(err)
		}
		return <-named
	}
}

// namesIn returns the keys and channels of a line of MONITOR.
func namesIn(t *testing.T, line string) []string {
	t.Helper()
	_, text, found := strings.Cut(line, `] "`)
	if !found {
		return nil // OK
	}
	args := strings.Split(strings.TrimSuffix(text, `"`), `" "`)
	switch command := strings.ToLower(args[0]); command {
	case "get", "set", "del", "unlink", "publish", "spublish":
		return args[1:2]
	case "subscribe", "ssubscribe", "unsubscribe":
		return args[1:]
	case "eval", "evalsha":
		n := 0
		for i, arg := range args {
			if _, err := fmt.Sscanf(arg, "%d", &n); err == nil && i >= 2 {
				return args[i+1 : i+1+n]
			}
		}
	case "hello", "client", "ping", "time", "info", "script", "echo", "config":
		return nil
	}
	t.Errorf("what does this command name? %.200s", line)
	return nil
}

// An instance that starts without MySQL does not know its shop's id, and does not use
// Redis until it does.
func TestInstanceReadsShopIDWhenMySQLReturns(t *testing.T) {
	t.Parallel()
	mysqld := testkit.StartMySQL(t)
	dsn := mysqld.Database(t)
	fleettest.DB(t, dsn).Close()
	shared := testkit.StartRedis(t)
	names := watchRedis(t, shared)
	mysqld.Kill()
	i, err := server.New(t.Context(), server.Settings{
		Database: server.Database{MySQL: dsn, Timeout: 500 * time.Millisecond}, Redis: shared.URL(), RootToken: token,
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ShopName: "Test & Sons", Drain: 400 * time.Millisecond,
	}, server.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- i.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	status, _, _ := call(t, "GET", fmt.Sprint("http://", i.PublicAddr(), "/fragments/card/1"), "", nil)
	if status != http.StatusServiceUnavailable {
		t.Errorf("a fragment without MySQL: %d", status)
	}
	for name, line := range names() {
		t.Errorf("without a shop it named %s: %s", name, line)
	}
	mysqld.Start()
	f := &fleet{instances: []*server.Instance{i}}
	f.whole(t)
	lamp := f.product(t, "lamp")
	_, _, body := call(t, "GET", fmt.Sprintf("http://%s/fragments/card/%d", i.PublicAddr(), lamp.ID), "", nil)
	if !strings.Contains(body, "The lamp") {
		t.Error(body)
	}
}
