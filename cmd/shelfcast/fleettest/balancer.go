package fleettest

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shelfcast/store/storetest"
)

// A Config says in what a test's load balancer differs from the file in deploy/.
// The zero value is no more than other addresses, and as many connections as a
// process may have in a test.
type Config struct {
	Tiers      []string      // public addresses of three instances
	Idle       time.Duration // silence after which a connection is cut; 0: as the file says
	Check      time.Duration // between two looks at an instance, which nginx does not have; 0: as the file says
	RoundRobin bool          // for sessions too, which go to where there are the fewest
	TLS        bool          // with the block that is for it
	Block      string        // with another block that is commented out
	More       string        // sections of HAProxy besides
}

// A Balancer is a HAProxy or an nginx.
type Balancer struct {
	*storetest.Server
	Addr   string // host:port of the shop
	Secure string // the same with TLS, if Config has that
	CA     string // and a file with its authority
	stats  string // HAProxy's socket
}

// connections is as many as fit into 20,000 files.
const connections = 9000

// HAProxy starts one with deploy/haproxy/haproxy.cfg, the very file unless one
// of its blocks is wanted. It ends with the test.
func HAProxy(t testing.TB, c Config) *Balancer {
	t.Helper()
	dir := shortDir(t)
	b := &Balancer{Addr: loopback(t), stats: filepath.Join(dir, "stats")}
	env := []string{"LB_LISTEN=" + b.Addr, fmt.Sprint("LB_CONNECTIONS=", connections)}
	for n, tier := range c.Tiers {
		env = append(env, fmt.Sprintf("LB_TIER%d=%s", n+1, tier))
	}
	if c.Idle > 0 {
		env = append(env, fmt.Sprintf("LB_IDLE=%dms", c.Idle.Milliseconds()))
	}
	if c.Check > 0 {
		env = append(env, fmt.Sprintf("LB_CHECK=%dms", c.Check.Milliseconds()))
	}
	if c.RoundRobin {
		env = append(env, "LB_SESSIONS=roundrobin")
	}
	file := Example(t, "haproxy/haproxy.cfg")
	if c.TLS || c.Block != "" {
		file = write(t, dir, "haproxy.cfg", blocks(t, read(t, file), c))
	}
	if c.TLS {
		ca, cert, key := storetest.Certificates(t)
		b.CA, b.Secure = ca, loopback(t)
		both := write(t, dir, "shop.pem", read(t, cert)+read(t, key))
		env = append(env, "LB_LISTEN_TLS="+b.Secure, "LB_CERTIFICATE="+both)
	}
	more := write(t, dir, "more.cfg", fmt.Sprintf("global\n  stats socket %s level admin\n%s", b.stats, c.More))
	b.Server = storetest.StartServer(t, b.serves(), env, storetest.Program(t, "haproxy", "haproxy"), "-db", "-f", file, "-f", more)
	return b
}

// CheckHAProxy has HAProxy read the file with a block that only a machine's own
// service can use.
func CheckHAProxy(t testing.TB, c Config) {
	t.Helper()
	file := write(t, t.TempDir(), "haproxy.cfg", blocks(t, read(t, Example(t, "haproxy/haproxy.cfg")), c))
	check := exec.Command(storetest.Program(t, "haproxy", "haproxy"), "-c", "-f", file)
	check.Env = append(os.Environ(), "LB_TIER1=127.0.0.1:1", "LB_TIER2=127.0.0.1:2", "LB_TIER3=127.0.0.1:3", fmt.Sprint("LB_CONNECTIONS=", connections))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Compose starts HAProxy with deploy/compose/haproxy.cfg, with addresses of the
// test's in it, before two instances. It ends with the test.
func Compose(t testing.TB, public, admin []string) (shop, desk string) {
	t.Helper()
	shop, desk = loopback(t), loopback(t)
	changes := []string{"bind :8080\n", "bind " + shop + "\n", "bind :8081\n", "bind " + desk + "\n", "127.0.0.1:8404", loopback(t), "maxconn 60000", "maxconn 1000"}
	for n := range public {
		changes = append(changes, fmt.Sprintf("shelfcast-%d:8080", n+1), public[n], fmt.Sprintf("shelfcast-%d:8081", n+1), admin[n])
	}
	text := read(t, Example(t, "compose/haproxy.cfg"))
	for n := 0; n < len(changes); n += 2 {
		if !strings.Contains(text, changes[n]) {
			t.Fatalf("there is no %q in haproxy.cfg", changes[n])
		}
	}
	file := write(t, shortDir(t), "haproxy.cfg", strings.NewReplacer(changes...).Replace(text))
	storetest.StartServer(t, Answers("http://"+desk+"/readyz"), nil, storetest.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return shop, desk
}

// Nginx starts one with deploy/nginx/nginx.conf, with addresses, paths and times
// of the test's in it. It ends with the test.
func Nginx(t testing.TB, c Config) *Balancer {
	t.Helper()
	dir := shortDir(t)
	b := &Balancer{Addr: loopback(t)}
	text := read(t, Example(t, "nginx/nginx.conf"))
	if c.TLS || c.Block != "" {
		text = blocks(t, text, c)
	}
	changes := [][2]string{
		{"user www-data;\n", ""},
		{"/run/nginx.pid", dir + "/pid"}, {"/var/log/nginx/error.log", dir + "/error"}, {"/var/log/nginx/access.log", dir + "/access"},
		{"/var/cache/shelfcast", dir + "/cache"},
		{"http {\n", fmt.Sprintf("http {\n  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n", dir)},
		{"worker_rlimit_nofile 120000;", "worker_rlimit_nofile 20000;"}, {"worker_connections 100000;", fmt.Sprintf("worker_connections %d;", 2*connections)},
		{"listen 80 ", "listen " + b.Addr + " "},
	}
	for n, tier := range c.Tiers {
		changes = append(changes, [2]string{fmt.Sprintf("tier%d:8080", n+1), tier})
	}
	if c.Idle > 0 {
		changes = append(changes, [2]string{" 90s;", fmt.Sprintf(" %dms;", c.Idle.Milliseconds())})
	}
	if c.RoundRobin {
		changes = append(changes, [2]string{"    least_conn;\n", ""})
	}
	if c.TLS {
		ca, cert, key := storetest.Certificates(t)
		b.CA, b.Secure = ca, loopback(t)
		changes = append(changes, [2]string{"listen 443 ", "listen " + b.Secure + " "}, [2]string{"/etc/nginx/shop.pem", cert}, [2]string{"/etc/nginx/shop.key", key})
	}
	for _, change := range changes {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("there is no %q in nginx.conf", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	// In one process, or its workers would outlive a test that crashes.
	b.Server = storetest.StartServer(t, b.serves(), nil, storetest.Program(t, "nginx-light", "nginx"),
		"-g", "daemon off; master_process off;", "-c", write(t, dir, "nginx.conf", text))
	return b
}

// Admin starts a load balancer for the admin apps, which those of deploy/ know
// nothing of, and has its address.
func Admin(t testing.TB, instances ...*Instance) (address string) {
	t.Helper()
	section, address := AdminSection(t, instances...)
	file := write(t, shortDir(t), "admin.cfg", section)
	storetest.StartServer(t, Answers("http://"+address+"/readyz"), nil, storetest.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return address
}

// AdminSection is the same for the HAProxy that a test has already (Config.More).
// A call that was sent is not sent again; so connections are not used again,
// which may end at the other side just then.
func AdminSection(t testing.TB, instances ...*Instance) (section, address string) {
	t.Helper()
	address = loopback(t)
	text := &strings.Builder{}
	fmt.Fprintf(text, `defaults
  mode http
  timeout connect 1s
  timeout client 1m
  timeout server 1m
  retries 2
  option redispatch 1
  http-reuse never
  option httpchk GET /readyz
  default-server inter 100ms fall 2 rise 1
listen admin
  bind %s
`, address)
	for n, i := range instances {
		fmt.Fprintf(text, "  server i%d %s check\n", n, i.Admin)
	}
	return text.String(), address
}

// serves says whether the shop is there; with TLS, where plain requests are sent
// on, whether somebody listens.
func (b *Balancer) serves() func() error {
	if b.Secure == "" {
		return Answers("http://" + b.Addr + "/shop")
	}
	return func() error {
		conn, err := net.Dial("tcp", b.Secure)
		if err == nil {
			conn.Close()
		}
		return err
	}
}

// HasChecks says whether it looks by itself whether instances are ready: HAProxy
// does.
func (b *Balancer) HasChecks() bool { return b.stats != "" }

// States has what HAProxy thinks of each instance: UP, DOWN, or on its way, as
// "DOWN 1/3".
func (b *Balancer) States(t testing.TB) []string {
	t.Helper()
	conn, err := net.Dial("unix", b.stats)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "show stat\n"); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(bytes.TrimSpace(text), []byte("# ")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	status := slices.Index(rows[0], "status")
	var states []string
	for _, row := range rows[1:] {
		if row[0] == "pages" && strings.HasPrefix(row[1], "tier") {
			states = append(states, row[status])
		}
	}
	return states
}

// Example is the path of a file in deploy/.
func Example(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(root(t), "deploy", name)
}

// root returns the project's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for { // the folder of a test's package, or one above it
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run within the project")
		}
		dir = filepath.Dir(dir)
	}
}

// blocks takes the comment signs off what is commented out as a block: lines that
// begin with #tls, for one.
func blocks(t testing.TB, text string, c Config) string {
	t.Helper()
	for _, name := range []string{"tls", c.Block} {
		switch mark := "#" + name + " "; {
		case name == "" || name == "tls" && !c.TLS:
		case !strings.Contains(text, mark):
			t.Fatalf("there is no block %s", mark)
		default:
			text = strings.ReplaceAll(text, mark, "")
		}
	}
	return text
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t testing.TB, dir, name, text string) (file string) {
	t.Helper()
	file = filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shortDir is a folder whose name leaves room for that of a socket (108 bytes).
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shelfcast-lb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
