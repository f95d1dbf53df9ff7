package admin

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/api/auth"
	"shelfcast/api/problem"
	"shelfcast/testkit"
)

// Clients that do not read their answers take a limited amount of memory, per caller and in total. Calls beyond that
// are told to retry, and other callers are answered. The memory is free again when they are gone.
func TestUnreadLargeAnswersAreLimited(t *testing.T) {
	const size = 8 << 20 // more than the kernel buffers for a connection
	s := newLargeAnswers(nil, prometheus.NewRegistry())
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: problem.Write})
	app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(auth.WithCaller(c.UserContext(), auth.Caller{Key: c.Get("Caller")}))
		return c.Next()
	}, s.limit)
	large := bytes.Repeat([]byte("x"), size)
	app.All("/large", func(c *fiber.Ctx) error { return c.Send(large) })
	app.Get("/small", func(c *fiber.Ctx) error { return c.SendString("small") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go app.Listener(listener)
	t.Cleanup(func() { app.Shutdown() })

	held := func() int64 { bytes, _ := s.Budget.Held(); return bytes }
	hold := func(caller string) (close func() error) {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(2048)
		before := held()
		fmt.Fprintf(c, "GET /large HTTP/1.1\r\nHost: localhost\r\nCaller: %s\r\n\r\n", caller)
		testkit.Eventually(t, "the answer is under way", func() bool { return held() >= before+size })
		return c.Close
	}
	ask := func(method, path, caller string) (int, int) {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Caller", caller)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, len(text)
	}
	var ends []func() error
	for range maxCallerAnswers / size {
		ends = append(ends, hold("one"))
	}
	if status, _ := ask("GET", "/large", "one"); status != 503 || held() != maxCallerAnswers {
		t.Errorf("one more of the same: %d, %d bytes are held", status, held())
	}
	for _, path := range []string{"/small", "/large"} {
		if status, n := ask("GET", path, "two"); status != 200 || n == 0 {
			t.Errorf("another's %s: %d, %d bytes", path, status, n)
		}
	}
	if status, n := ask("POST", "/large", "one"); status != 200 || n != size {
		t.Errorf("what was changed is told: %d, %d bytes", status, n)
	}
	for _, end := range ends {
		end()
	}
	testkit.Eventually(t, "all is given back",
		func() bool { bytes, callers := s.Budget.Held(); return bytes == 0 && callers == 0 })
	if status, n := ask("GET", "/large", "one"); status != 200 || n != size {
		t.Errorf("afterwards: %d, %d bytes", status, n)
	}
}
