//go:build unix

package api

import (
	"bufio"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
	"golang.org/x/sys/unix"

	"shelfcast/store/storetest"
)

// BenchmarkShop is a warm GET /shop of 48 cards over sockets of the loopback,
// beside a bare Fiber handler that answers with the same bytes: so many requests
// a second, and so many in a second of a processor, clients included. The share
// is what the shop reaches of the bare handler.
func BenchmarkShop(b *testing.B) {
	f := newFront(b, storetest.DSN(b), nil, func(p *Public) { p.PageSize = 48 })
	f.stock(60)
	page := f.ask("GET", "/shop").Body()
	bare := fiber.New(fiber.Config{DisableStartupMessage: true})
	bare.Get("/shop", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		return c.Send(page)
	})
	servers := []string{serve(b, bare), serve(b, f.public.App())}
	const clients = 16
	for b.Loop() {
		var rate, cost [2]float64
		for range 6 { // in turns, since others are at work on the machine
			for i, address := range servers {
				perSecond, perCPU := load(b, address, clients, 500*time.Millisecond, len(page))
				rate[i] += perSecond / 6
				cost[i] += perCPU / 6
			}
		}
		b.ReportMetric(rate[0], "bare/s")
		b.ReportMetric(rate[1], "shop/s")
		b.ReportMetric(rate[1]/rate[0], "share")
		b.ReportMetric(cost[1]/cost[0], "share-per-cpu")
	}
	b.ReportMetric(float64(len(page)), "bytes")
	b.ReportMetric(0, "ns/op")
}

func serve(b *testing.B, app *fiber.App) (address string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- app.Listener(listener) }()
	b.Cleanup(func() {
		app.Shutdown()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return listener.Addr().String()
}

// load asks for the shop from several connections for a while.
func load(b *testing.B, address string, clients int, d time.Duration, size int) (perSecond, perCPU float64) {
	b.Helper()
	var done atomic.Int64
	var all sync.WaitGroup
	before, start := processor(b), time.Now()
	for range clients {
		all.Go(func() {
			n, err := asking(address, start.Add(d), size)
			if err != nil {
				b.Error(err)
			}
			done.Add(n)
		})
	}
	all.Wait()
	took, used := time.Since(start), processor(b)-before
	return float64(done.Load()) / took.Seconds(), float64(done.Load()) / used.Seconds()
}

func asking(address string, until time.Time, size int) (n int64, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	request := []byte("GET /shop HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: text/html\r\n\r\n")
	r := bufio.NewReaderSize(conn, 64<<10)
	var response fasthttp.Response
	for ; time.Now().Before(until); n++ {
		if _, err := conn.Write(request); err != nil {
			return n, err
		}
		if err := response.Read(r); err != nil {
			return n, err
		}
		if response.StatusCode() != 200 || len(response.Body()) != size {
			return n, fmt.Errorf("%d with %d bytes", response.StatusCode(), len(response.Body()))
		}
	}
	return n, nil
}

// processor is the time that this process has had of one.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
