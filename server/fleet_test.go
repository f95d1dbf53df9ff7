package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/internal/liveclient"
	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) {
	serveBare()
	testkit.Main(m, stopBrowsers, fleettest.Clean)
}

const token = fleettest.Token

// A fleet is two instances on one database and one Redis.
type fleet struct {
	db        *store.DB
	redis     *testkit.RedisServer
	instances []*server.Instance
	stop      []func() // stops the instance and waits for its end
}

func startFleet(t testing.TB, change func(*server.Settings)) *fleet {
	t.Helper()
	return startFleetOn(t, testkit.DSN(t), change)
}

// startFleetOn is startFleet on an existing database.
func startFleetOn(t testing.TB, dsn string, change func(*server.Settings)) *fleet {
	t.Helper()
	return startFleetWith(t, dsn, server.Options{Log: slog.New(slog.DiscardHandler)}, change)
}

// startFleetWith is startFleetOn with these options.
func startFleetWith(t testing.TB, dsn string, options server.Options, change func(*server.Settings)) *fleet {
	t.Helper()
	return startFleetOf(t, 2, dsn, options, change)
}

// startFleetOf is startFleetWith for any number of instances.
func startFleetOf(t testing.TB, size int, dsn string, options server.Options, change func(*server.Settings)) *fleet {
	t.Helper()
	options.Version = "test"
	f := &fleet{db: fleettest.DB(t, dsn), redis: testkit.StartRedis(t)}
	for range size {
		s := f.settings(dsn)
		if change != nil {
			change(&s)
		}
		i, stop := fleettest.Run(t, s, options)
		f.instances = append(f.instances, i)
		f.stop = append(f.stop, stop)
	}
	return f
}

// settings returns the settings of an instance of the fleet.
func (f *fleet) settings(dsn string) server.Settings {
	return server.Settings{
		Database: server.Database{MySQL: dsn}, Redis: f.redis.URL(), RootToken: token,
		Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ShopName: "Test & Sons", Drain: 400 * time.Millisecond,
	}
}

// product creates a product through the admin API of the first instance.
func (f *fleet) product(t testing.TB, sku string) store.Product {
	t.Helper()
	body := fmt.Sprintf(`{"sku":%q,"title":"The %s","price":"19.90","currency":"EUR","stock":7,`+
		`"published":true,"vendor":"Co"}`, sku, sku)
	status, _, answer := f.admin(t, 0, "POST", "/api/v1/products", body, nil)
	if status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, answer)
	}
	return parse[store.Product](t, answer)
}

// edit patches a product through the admin API of instance n.
func (f *fleet) edit(t testing.TB, n int, seen store.Rev, body string) store.Product {
	t.Helper()
	status, _, answer := f.admin(t, n, "PATCH", fmt.Sprintf("/api/v1/products/%d", seen.ID), body,
		http.Header{"If-Match": {etag(seen)}})
	if status != http.StatusOK {
		t.Fatalf("edit: %d %s", status, answer)
	}
	return parse[store.Product](t, answer)
}

func etag(r store.Rev) string { return fmt.Sprintf(`"%d"`, r.Version) }

// admin calls the admin API of instance n, and checks the answer against the
// OpenAPI document.
func (f *fleet) admin(t testing.TB, n int, method, path, body string, headers http.Header) (int, http.Header, string) {
	t.Helper()
	h := http.Header{"Authorization": {"Bearer " + token}}
	for name, values := range headers {
		h[name] = values
	}
	address := f.instances[n].AdminAddr()
	url := "http://" + address + path
	status, got, answer := call(t, method, url, body, h)
	if _, measures := t.(*testing.B); !measures {
		contractOf(t, address).check(t, method, url, status, got, answer)
	}
	return status, got, answer
}

func (f *fleet) public(n int, path string) string {
	return "http://" + f.instances[n].PublicAddr() + path
}

func call(t testing.TB, method, url, body string, headers http.Header) (int, http.Header, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, values := range headers {
		request.Header[name] = values
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(answer)
}

func parse[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

type frame = liveclient.Frame

// A shopper is a session of a browser that shows nothing.
type shopper struct {
	t    testing.TB
	conn *liveclient.Conn
}

func (f *fleet) shopper(t testing.TB, n int, mode string) *shopper {
	t.Helper()
	return shopperAt(t, f.instances[n].PublicAddr(), mode)
}

func shopperAt(t testing.TB, address, mode string) *shopper {
	t.Helper()
	s, err := dial(t, ws.Dialer{Timeout: 10 * time.Second}, "ws://"+address+"/live"+mode)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// dial opens a session, which may be refused.
func dial(t testing.TB, dialer ws.Dialer, url string) (*shopper, error) {
	t.Helper()
	conn, err := liveclient.Dial(t.Context(), dialer, url)
	if err != nil {
		return nil, err
	}
	if conn.Buffered() > 0 {
		t.Fatal("the server spoke first")
	}
	t.Cleanup(func() { conn.Close() })
	return &shopper{t, conn}, nil
}

func (s *shopper) say(text string) {
	s.t.Helper()
	if err := s.conn.Send([]byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shopper) watch(view string, revs ...store.Rev) {
	s.t.Helper()
	if err := s.conn.Watch(view, revs...); err != nil {
		s.t.Fatal(err)
	}
}

// next returns the next frame, and fails the test if none arrives.
func (s *shopper) next() frame {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	f, err := s.conn.Next()
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// settled sends a ping, and returns the frames that arrive before its pong: all
// that the server had queued.
func (s *shopper) settled() []frame {
	s.t.Helper()
	if err := s.conn.WriteFrame(ws.NewPingFrame([]byte("settled"))); err != nil {
		s.t.Fatal(err)
	}
	var frames []frame
	for {
		s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := s.conn.ReadFrame()
		if err != nil {
			s.t.Fatal(err)
		}
		if got.Header.OpCode == ws.OpPong && bytes.Equal(got.Payload, []byte("settled")) {
			return frames
		}
		frames = append(frames, parse[frame](s.t, string(got.Payload)))
	}
}

// closed returns the code of the close frame, and fails the test if none arrives.
func (s *shopper) closed() ws.StatusCode {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := s.conn.ReadFrame()
		if err != nil {
			s.t.Fatal(err)
		}
		if got.Header.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(got.Payload)
			return code
		}
	}
}

// counter returns the sum of a counter over the fleet.
func (f *fleet) counter(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	sum := 0.0
	for _, i := range f.instances {
		families, err := i.Metrics().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != name {
				continue
			}
			for _, m := range family.GetMetric() {
				if len(labels) == 0 || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == labels[0] {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}
