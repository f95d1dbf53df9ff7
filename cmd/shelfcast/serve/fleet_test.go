package serve_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"shelfcast/cmd/shelfcast/fleettest"
	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/realtime"
	"shelfcast/store"
	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) {
	serveBare()
	storetest.Main(m, stopBrowsers, fleettest.Clean)
}

const token = fleettest.Token

// A fleet is two instances on one database and one Redis.
type fleet struct {
	db        *store.DB
	redis     *storetest.RedisServer
	instances []*serve.Instance
	stop      []func() // each instance, and waits for it
}

func startFleet(t testing.TB, change func(*serve.Settings)) *fleet {
	t.Helper()
	return startFleetOn(t, storetest.DSN(t), change)
}

// startFleetOn starts it on a database of the test's choice.
func startFleetOn(t testing.TB, dsn string, change func(*serve.Settings)) *fleet {
	t.Helper()
	return startFleetWith(t, dsn, serve.Options{Log: slog.New(slog.DiscardHandler)}, change)
}

// startFleetWith starts it with such options.
func startFleetWith(t testing.TB, dsn string, options serve.Options, change func(*serve.Settings)) *fleet {
	t.Helper()
	return startFleetOf(t, 2, dsn, options, change)
}

// startFleetOf starts so many instances.
func startFleetOf(t testing.TB, size int, dsn string, options serve.Options, change func(*serve.Settings)) *fleet {
	t.Helper()
	options.Version = "test"
	f := &fleet{db: fleettest.DB(t, dsn), redis: storetest.StartRedis(t)}
	for range size {
		s := serve.Settings{
			Database: serve.Database{MySQL: dsn}, Redis: f.redis.URL(), AdminToken: token,
			Listen: "127.0.0.1:0", AdminListen: "127.0.0.1:0", ShopName: "Test & Sons", Drain: 400 * time.Millisecond,
		}
		if change != nil {
			change(&s)
		}
		i, stop := fleettest.Run(t, s, options)
		f.instances = append(f.instances, i)
		f.stop = append(f.stop, stop)
	}
	return f
}

// product makes one through the admin API of the first instance.
func (f *fleet) product(t testing.TB, sku string) store.Product {
	t.Helper()
	body := fmt.Sprintf(`{"sku":%q,"title":"The %s","price":"19.90","currency":"EUR","stock":7,"published":true,"vendor":"Co"}`, sku, sku)
	status, _, answer := f.admin(t, 0, "POST", "/api/v1/products", body, nil)
	if status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, answer)
	}
	return parse[store.Product](t, answer)
}

// edit PATCHes through the admin API of instance n.
func (f *fleet) edit(t testing.TB, n int, seen store.Rev, body string) store.Product {
	t.Helper()
	status, _, answer := f.admin(t, n, "PATCH", fmt.Sprintf("/api/v1/products/%d", seen.ID), body, http.Header{"If-Match": {etag(seen)}})
	if status != http.StatusOK {
		t.Fatalf("edit: %d %s", status, answer)
	}
	return parse[store.Product](t, answer)
}

func etag(r store.Rev) string { return fmt.Sprintf(`"%d"`, r.Version) }

// admin calls the admin API of instance n, and holds the answer against the
// API's document.
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

// A frame is what the server says.
type frame struct {
	Fragments []struct {
		store.Rev
		View, HTML         string
		Reset, Unavailable bool
	}
	Changed []struct {
		store.Rev
		View string
	}
	Error *struct{ Code, Message string }
}

// A shopper is a session of a browser that shows nothing.
type shopper struct {
	t    testing.TB
	conn net.Conn
}

func (f *fleet) shopper(t testing.TB, n int, mode string) *shopper {
	t.Helper()
	return shopperAt(t, f.instances[n].PublicAddr(), mode)
}

func shopperAt(t testing.TB, address, mode string) *shopper {
	t.Helper()
	s, err := visit(t, ws.Dialer{Timeout: 10 * time.Second}, "ws://"+address+"/live"+mode)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// visit opens a session, which may be refused.
func visit(t testing.TB, dialer ws.Dialer, url string) (*shopper, error) {
	t.Helper()
	dialer.Protocols = []string{realtime.Subprotocol}
	conn, early, _, err := dialer.Dial(t.Context(), url)
	if err != nil {
		return nil, err
	}
	if early != nil {
		t.Fatal("the server spoke first")
	}
	t.Cleanup(func() { conn.Close() })
	return &shopper{t, conn}, nil
}

func (s *shopper) say(text string) {
	s.t.Helper()
	if err := wsutil.WriteClientText(s.conn, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shopper) watch(view string, revs ...store.Rev) {
	s.t.Helper()
	watches := make([]string, len(revs))
	for i, r := range revs {
		watches[i] = fmt.Sprintf(`{"id":%d,"version":%d,"view":%q}`, r.ID, r.Version, view)
	}
	s.say(`{"watch":[` + strings.Join(watches, ",") + `]}`)
}

// next is the next frame, which has to come.
func (s *shopper) next() frame {
	s.t.Helper()
	s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	text, err := wsutil.ReadServerText(s.conn)
	if err != nil {
		s.t.Fatal(err)
	}
	return parse[frame](s.t, string(text))
}

// settled reads until a ping of ours is answered, and so until all that the
// server had to say before has come.
func (s *shopper) settled() []frame {
	s.t.Helper()
	if err := wsutil.WriteClientMessage(s.conn, ws.OpPing, []byte("settled")); err != nil {
		s.t.Fatal(err)
	}
	var frames []frame
	for {
		s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := ws.ReadFrame(s.conn)
		if err != nil {
			s.t.Fatal(err)
		}
		if got.Header.OpCode == ws.OpPong && bytes.Equal(got.Payload, []byte("settled")) {
			return frames
		}
		frames = append(frames, parse[frame](s.t, string(got.Payload)))
	}
}

// closed is the code of the close frame, which has to come.
func (s *shopper) closed() ws.StatusCode {
	s.t.Helper()
	for {
		s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, err := ws.ReadFrame(s.conn)
		if err != nil {
			s.t.Fatal(err)
		}
		if got.Header.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(got.Payload)
			return code
		}
	}
}

// counter is the sum of a metric over the fleet.
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
