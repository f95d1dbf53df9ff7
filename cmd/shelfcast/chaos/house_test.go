// Package chaos has the test that breaks things: see TestChaos.
package chaos

import (
	"database/sql"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

const token = "a token of the tests"

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

// An instance is a process of the program.
type instance struct {
	*storetest.Server
	public, admin string // host:port
	rendered      float64
	before        float64 // what those processes had rendered that are gone
}

// build makes the program, with the race detector if the test has it.
func build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "shelfcast")
	args := []string{"build", "-o", binary}
	if raceDetector {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "shelfcast/cmd/shelfcast")...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// startHouse starts all of it, which ends with the test.
func startHouse(t testing.TB, binary string, withSentinel bool) *house {
	t.Helper()
	h := &house{t: t, mysql: storetest.StartMySQL(t)}
	dsn := h.mysql.Database(t)
	db, err := store.Open(dsn, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h.db = db
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.InstallTriggers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.plain, err = sql.Open("mysql", dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.plain.Close() })
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
		i := &instance{
			public: "127.0.0.1:" + strconv.Itoa(storetest.FreePort(t)),
			admin:  "127.0.0.1:" + strconv.Itoa(storetest.FreePort(t)),
		}
		i.Server = storetest.StartServer(t, answers("http://"+i.admin+"/readyz"), []string{
			"SHELFCAST_LISTEN=" + i.public, "SHELFCAST_ADMIN_LISTEN=" + i.admin, "SHELFCAST_ADMIN_TOKEN=" + token,
			"SHELFCAST_MYSQL=" + dsn, "SHELFCAST_REDIS=" + url,
			"SHELFCAST_PAGE_SIZE=8", "SHELFCAST_DRAIN=2s", fmt.Sprint("SHELFCAST_SHOP_NAME=Shop ", n),
		}, binary, "serve")
		h.instances = append(h.instances, i)
		t.Cleanup(func() {
			said, err := os.ReadFile(i.Log())
			if err != nil || strings.Contains(string(said), "DATA RACE") || strings.Contains(string(said), "panic") {
				t.Errorf("instance %d: %v\n%s", n, err, said)
			}
		})
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

// balance starts the load balancer, as it would be set up for a shop.
func (h *house) balance(t testing.TB) {
	t.Helper()
	public, admin := storetest.FreePort(t), storetest.FreePort(t)
	h.public, h.admin = fmt.Sprint("http://127.0.0.1:", public), fmt.Sprint("http://127.0.0.1:", admin)
	config := &strings.Builder{}
	fmt.Fprint(config, `defaults
  mode http
  option forwardfor
  option redispatch
  retries 2
  timeout connect 1s
  timeout client 1m
  timeout server 1m
  timeout tunnel 1h
  balance leastconn
  option httpchk GET /readyz
  default-server inter 500ms fall 2 rise 1
`)
	for name, port := range map[string]int{"public": public, "admin": admin} {
		fmt.Fprintf(config, "listen %s\n  bind 127.0.0.1:%d\n", name, port)
		for n, i := range h.instances {
			address, _, check := i.public, name, i.admin[strings.LastIndexByte(i.admin, ':')+1:]
			if name == "admin" {
				address = i.admin
			}
			fmt.Fprintf(config, "  server i%d %s check port %s\n", n, address, check)
		}
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	haproxy := storetest.Program(t, "haproxy", "haproxy")
	h.balancer = storetest.StartServer(t, answers(h.public+"/shop"), nil, haproxy, "-db", "-f", file)
}

// answers says whether there is a good answer to a GET.
func answers(url string) func() error {
	return func() error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}

// rendered is how many fragments the fleet has made; what a process made after
// it was last asked, and before it was killed, is not in it.
func (h *house) rendered() (sum float64) {
	for _, i := range h.instances {
		now := i.metric("shelfcast_fragment_renders_total")
		if now < i.rendered {
			i.before += i.rendered
		}
		i.rendered = now
		sum += i.before + now
	}
	return sum
}

// metric is the sum of a metric's series; 0 if the instance does not answer.
func (i *instance) metric(name string) (sum float64) {
	response, err := http.Get("http://" + i.admin + "/metrics")
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name) {
			if fields := strings.Fields(line); len(fields) == 2 {
				n, _ := strconv.ParseFloat(fields[1], 64)
				sum += n
			}
		}
	}
	return sum
}
