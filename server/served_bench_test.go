package server_test

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

// A served is a server that answers the same bytes as the others.
type served struct {
	name string
	pid  int
	url  string
	body string // of a POST; "": GET

	perSecond, perCPU []float64 // requests of each round
}

// BenchmarkServed compares an instance with a bare Fiber handler that sends the same
// prepared bytes, and with nginx that has them in a file: requests per second, and per
// second of processor time. They run in turn, each in its own process. Run it with
// -benchtime 1x.
func BenchmarkServed(b *testing.B) {
	wrk := testkit.Program(b, "wrk", "wrk")
	instance, product := servedInstance(b)
	call := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":%d}}`, product)
	for name, ours := range map[string]*served{
		"sync":     {url: instance.url + "/product/tree/sync", body: call},
		"fragment": {url: instance.url + fmt.Sprintf("/fragments/card/%d", product)},
		"shop":     {url: instance.url + "/shop"},
	} {
		b.Run(name, func(b *testing.B) {
			ours.name, ours.pid = "instance", instance.pid
			file := filepath.Join(b.TempDir(), "body")
			if err := os.WriteFile(file, []byte(ours.answer(b)), 0o644); err != nil {
				b.Fatal(err)
			}
			all := []*served{ours, servedBare(b, file, ours.body), servedNginx(b, file, ours.body)}
			for b.Loop() {
				for range 7 {
					for _, s := range all {
						s.measure(b, wrk)
					}
				}
			}
			bare := all[1]
			for _, s := range all {
				if s != bare {
					b.ReportMetric(median(s.perSecond)/median(bare.perSecond), s.name+"-of-bare-by-second")
					b.ReportMetric(median(s.perCPU)/median(bare.perCPU), s.name+"-of-bare-by-CPU")
				}
			}
			b.ReportMetric(median(ours.perSecond), "requests/s")
			b.ReportMetric(float64(len(ours.answer(b))), "bytes")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// answer returns the body of its answer.
func (s *served) answer(b *testing.B) string {
	b.Helper()
	status, _, body := call(b, cmp.Or(map[bool]string{true: "POST"}[s.body != ""], "GET"), s.url, s.body, nil)
	if status != http.StatusOK {
		b.Fatal(s.name, status, body)
	}
	return body
}

var requestsASecond = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
var failures = regexp.MustCompile(`Non-2xx.*|Socket errors.*`)

// measure measures one round.
func (s *served) measure(b *testing.B, wrk string) {
	b.Helper()
	args := []string{"-t1", "-c64", "-d2s"}
	if s.body != "" {
		script := filepath.Join(b.TempDir(), "post.lua")
		text := fmt.Sprintf("wrk.method = 'POST'\nwrk.body = '%s'\n"+
			"wrk.headers['Content-Type'] = 'application/json'\n", s.body)
		if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		args = append(args, "-s", script)
	}
	before, began := cpuSeconds(b, s.pid), time.Now()
	out, err := exec.Command(wrk, append(args, s.url)...).CombinedOutput()
	took, used := time.Since(began).Seconds(), cpuSeconds(b, s.pid)-before
	found := requestsASecond.FindSubmatch(out)
	if err != nil || found == nil || failures.Match(out) {
		b.Fatalf("%s: %v %s", s.name, err, out)
	}
	rate, _ := strconv.ParseFloat(string(found[1]), 64)
	s.perSecond = append(s.perSecond, rate)
	s.perCPU = append(s.perCPU, rate*took/used)
}

// cpuSeconds returns the processor time of a process (proc(5)).
func cpuSeconds(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100 // clock ticks; Linux has 100 a second on all of Go's platforms
}

// servedInstance starts an instance with a page of products, and returns the id of the
// first.
func servedInstance(b *testing.B) (*served, int64) {
	b.Helper()
	dsn := testkit.DSN(b)
	fleettest.DB(b, dsn)
	i := fleettest.Start(b, fleettest.Build(b),
		"SHELFCAST_MYSQL="+dsn, "SHELFCAST_REDIS="+testkit.StartRedis(b).URL(), "SHELFCAST_DRAIN_TIME=1s",
		"SHELFCAST_PAGE_SIZE=48")
	var first int64
	for n := range 60 {
		body := fmt.Sprintf(`{"sku":"p%d","title":"Product %d","price":"19.90","currency":"EUR","stock":7,`+
			`"published":true,"vendor":"Kiln & Co"}`, n, n)
		status, _, answer := call(b, "POST", "http://"+i.Admin+"/api/v1/products", body,
			http.Header{"Authorization": {"Bearer " + token}})
		if status != http.StatusCreated {
			b.Fatal(status, answer)
		}
		if n == 0 {
			first = parse[struct{ ID int64 }](b, answer).ID
		}
	}
	return &served{pid: i.Pid(), url: "http://" + i.Public}, first
}

// servedBare starts a Fiber app with one handler: this test program again.
func servedBare(b *testing.B, file, body string) *served {
	b.Helper()
	address := testkit.FreeAddr(b)
	url := "http://" + address + "/"
	server := testkit.StartServer(b, fleettest.Answers(url),
		[]string{bareFile + "=" + file, bareAddress + "=" + address}, os.Args[0])
	return &served{name: "bare", pid: server.Pid(), url: url, body: body}
}

const bareFile, bareAddress = "SHELFCAST_TEST_BARE_FILE", "SHELFCAST_TEST_BARE_ADDRESS"

// serveBare serves for servedBare, and then does not return.
func serveBare() {
	file := os.Getenv(bareFile)
	if file == "" {
		return
	}
	body, err := os.ReadFile(file)
	if err == nil {
		app := fiber.New(fiber.Config{DisableStartupMessage: true})
		app.All("/", func(c *fiber.Ctx) error {
			c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
			c.Set(fiber.HeaderCacheControl, "no-store")
			return c.Send(body)
		})
		err = app.Listen(os.Getenv(bareAddress))
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// servedNginx starts nginx with the bytes in a file. It answers 405 to a POST, so it
// is configured to send the file then, too.
func servedNginx(b *testing.B, file, body string) *served {
	b.Helper()
	const settings = "root %s; open_file_cache max=10; default_type application/json; error_page 405 =200 $uri;"
	url, pid := nginx(b, "", fmt.Sprintf(settings, filepath.Dir(file)))
	return &served{name: "nginx", pid: pid, url: url + "/" + filepath.Base(file), body: body}
}

// nginx starts nginx with these settings for http and server, and returns its URL and
// process id.
func nginx(t testing.TB, settings, server string) (url string, worker int) {
	t.Helper()
	port := testkit.FreePort(t)
	config := filepath.Join(t.TempDir(), "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error;
worker_rlimit_nofile 20000;
events { worker_connections 8000; }
http {
  access_log off; keepalive_requests 1000000; sendfile on; tcp_nopush on;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; `+
		`uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  proxy_cache_path %[1]s/cache keys_zone=fragments:10m;
  %[4]s
  server { listen 127.0.0.1:%[2]d backlog=4096; %[3]s
    location = /up { return 200; }
  }
}
`, t.TempDir(), port, server, settings)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	s := testkit.StartServer(t, fleettest.Answers(url+"/up"), nil, testkit.Program(t, "nginx-light", "nginx"),
		"-c", config)
	return url, s.Pid()
}
