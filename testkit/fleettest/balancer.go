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

	"shelfcast/testkit"
)

// A Config is what differs from the file in deploy/, besides addresses and the limit of
// connections.
type Config struct {
	Instances  []string      // public addresses of three instances
	Idle       time.Duration // idle timeout of connections; 0: as in the file
	Check      time.Duration // interval of health checks, which nginx does not have; 0: as in the file
	RoundRobin bool          // also for sessions, which otherwise go to the instance with the fewest
	TLS        bool          // enable the block for TLS
	Block      string        // enable this block, which is commented out in the file
	More       string        // more sections of HAProxy's configuration
}

// A Balancer is a running HAProxy or nginx.
type Balancer struct {
	*testkit.Server
	Addr   string // host:port of the shop
	Secure string // the same with TLS, if Config.TLS is set
	CA     string // file of its certificate's authority
	stats  string // HAProxy's socket
}

// connections is a limit that fits into 20,000 open files.
const connections = 9000

// HAProxy starts HAProxy with deploy/haproxy/haproxy.cfg, unchanged unless blocks are
// enabled. It ends with the test.
func HAProxy(t testing.TB, c Config) *Balancer {
	t.Helper()
	dir := shortDir(t)
	b := &Balancer{Addr: testkit.FreeAddr(t), stats: filepath.Join(dir, "stats")}
	env := []string{"LB_LISTEN=" + b.Addr, fmt.Sprint("LB_CONNECTIONS=", connections)}
	for n, instance := range c.Instances {
		env = append(env, fmt.Sprintf("LB_TIER%d=%s", n+1, instance))
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
		ca, cert, key := testkit.Certificates(t)
		b.CA, b.Secure = ca, testkit.FreeAddr(t)
		both := write(t, dir, "shop.pem", read(t, cert)+read(t, key))
		env = append(env, "LB_LISTEN_TLS="+b.Secure, "LB_CERTIFICATE="+both)
	}
	more := write(t, dir, "more.cfg", fmt.Sprintf("global\n  stats socket %s level admin\n%s", b.stats, c.More))
	b.Server = testkit.StartServer(t, b.serves(), env,
		testkit.Program(t, "haproxy", "haproxy"), "-db", "-f", file, "-f", more)
	return b
}

// CheckHAProxy has HAProxy check the file with a block that cannot be used in a test.
func CheckHAProxy(t testing.TB, c Config) {
	t.Helper()
	file := write(t, t.TempDir(), "haproxy.cfg", blocks(t, read(t, Example(t, "haproxy/haproxy.cfg")), c))
	check := exec.Command(testkit.Program(t, "haproxy", "haproxy"), "-c", "-f", file)
	check.Env = append(os.Environ(), "LB_TIER1=127.0.0.1:1", "LB_TIER2=127.0.0.1:2",
		"LB_TIER3=127.0.0.1:3", fmt.Sprint("LB_CONNECTIONS=", connections))
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Compose starts HAProxy with deploy/compose/haproxy.cfg and the test's addresses, in
// front of two instances. It ends with the test.
func Compose(t testing.TB, public, admin []string) (publicAddr, adminAddr string) {
	t.Helper()
	publicAddr, adminAddr = testkit.FreeAddr(t), testkit.FreeAddr(t)
	changes := []string{"bind :8080\n", "bind " + publicAddr + "\n", "bind :8081\n", "bind " + adminAddr + "\n",
		"127.0.0.1:8404", testkit.FreeAddr(t), "maxconn 60000", "maxconn 1000"}
	for n := range public {
		changes = append(changes, fmt.Sprintf("shelfcast-%d:8080", n+1), public[n],
			fmt.Sprintf("shelfcast-%d:8081", n+1), admin[n])
	}
	text := read(t, Example(t, "compose/haproxy.cfg"))
	for n := 0; n < len(changes); n += 2 {
		if !strings.Contains(text, changes[n]) {
			t.Fatalf("there is no %q in haproxy.cfg", changes[n])
		}
	}
	file := write(t, shortDir(t), "haproxy.cfg", strings.NewReplacer(changes...).Replace(text))
	testkit.StartServer(t, Answers("http://"+adminAddr+"/readyz"), nil,
		testkit.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return publicAddr, adminAddr
}

// Nginx starts nginx with deploy/nginx/nginx.conf and the test's addresses, paths and
// times. It ends with the test.
func Nginx(t testing.TB, c Config) *Balancer {
	t.Helper()
	dir := shortDir(t)
	b := &Balancer{Addr: testkit.FreeAddr(t)}
	text := read(t, Example(t, "nginx/nginx.conf"))
	if c.TLS || c.Block != "" {
		text = blocks(t, text, c)
	}
	changes := [][2]string{
		{"user www-data;\n", ""},
		{"/run/nginx.pid", dir + "/pid"}, {"/var/log/nginx/error.log", dir + "/error"},
		{"/var/log/nginx/access.log", dir + "/access"},
		{"/var/cache/shelfcast", dir + "/cache"},
		{"http {\n", fmt.Sprintf("http {\n  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; "+
			"fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n", dir)},
		{"worker_rlimit_nofile 120000;", "worker_rlimit_nofile 20000;"},
		{"worker_connections 100000;", fmt.Sprintf("worker_connections %d;", 2*connections)},
		{"listen 80 ", "listen " + b.Addr + " "},
	}
	for n, instance := range c.Instances {
		changes = append(changes, [2]string{fmt.Sprintf("tier%d:8080", n+1), instance})
	}
	if c.Idle > 0 {
		changes = append(changes, [2]string{" 90s;", fmt.Sprintf(" %dms;", c.Idle.Milliseconds())})
	}
	if c.RoundRobin {
		changes = append(changes, [2]string{"    least_conn;\n", ""})
	}
	if c.TLS {
		ca, cert, key := testkit.Certificates(t)
		b.CA, b.Secure = ca, testkit.FreeAddr(t)
		changes = append(changes, [2]string{"listen 443 ", "listen " + b.Secure + " "},
			[2]string{"/etc/nginx/shop.pem", cert}, [2]string{"/etc/nginx/shop.key", key})
	}
	for _, change := range changes {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("there is no %q in nginx.conf", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	// In one process: workers would outlive a test that crashes.
	b.Server = testkit.StartServer(t, b.serves(), nil, testkit.Program(t, "nginx-light", "nginx"),
		"-g", "daemon off; master_process off;", "-c", write(t, dir, "nginx.conf", text))
	return b
}

// Admin starts a load balancer for the admin apps, which those of deploy/ do not have, and
// returns its address.
func Admin(t testing.TB, instances ...*Instance) (address string) {
	t.Helper()
	section, address := AdminSection(t, instances...)
	file := write(t, shortDir(t), "admin.cfg", section)
	testkit.StartServer(t, Answers("http://"+address+"/readyz"), nil,
		testkit.Program(t, "haproxy", "haproxy"), "-db", "-f", file)
	return address
}

// AdminSection returns the same as a section for Config.More. It does not reuse
// connections: a server may close one while a call is being sent, and calls are not
// repeated.
func AdminSection(t testing.TB, instances ...*Instance) (section, address string) {
	t.Helper()
	address = testkit.FreeAddr(t)
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

// serves returns a function that checks whether the shop answers; with TLS, where plain
// requests are redirected, whether the port is open.
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

// HasChecks reports whether it checks the health of instances: HAProxy does.
func (b *Balancer) HasChecks() bool { return b.stats != "" }

// States returns HAProxy's state of each instance: UP, DOWN, or a transition such as
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

// Example returns the path of a file in deploy/.
func Example(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(root(t), "deploy", name)
}

// root returns the repository's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for { // tests run in the folder of their package, which may be in another module
		if _, err := os.Stat(filepath.Join(dir, "cmd", "shelfcast", "main.go")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the test does not run within the repository")
		}
		dir = filepath.Dir(dir)
	}
}

// blocks enables blocks that are commented out: lines that begin with #tls, for example.
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

// shortDir returns a folder with a short name, as a socket's path has at most 108 bytes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "shelfcast-lb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
