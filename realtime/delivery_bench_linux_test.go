package realtime

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"shelfcast/render"
	"shelfcast/store"
)

// BenchmarkDeliveryVersusWrite compares a delivery with the least that it can cost: a bare
// loop of write(2) of the same bytes to the same sockets, in the same run, in
// turn. The browsers are another process on the same machine; only the CPU time
// of this one is counted. Each turn is one edit, of 400 bytes, to all:
//
//   - way=single: of a product that all sessions watch
//   - way=joined: of ten of them at once; cost: a delivery, to one of single
//   - way=latency: ten a second, and the time until the browsers have it
func BenchmarkDeliveryVersusWrite(b *testing.B) {
	for _, sessions := range []int{5_000, 10_000} {
		b.Run(fmt.Sprintf("sessions=%d", sessions), func(b *testing.B) {
			f := newField(b, sessions)
			b.Run("way=single", f.single)
			b.Run("way=joined", f.joined)
			if sessions == 5_000 { // more at ten a second are too much for two processors
				b.Run("way=latency", f.latency)
			}
		})
	}
}

const (
	hot  = 10 // products that every session watches
	size = 400
)

// A field is a hub with parked sessions, and a process with their browsers.
type field struct {
	hub      *Hub
	shop     *shop
	sessions int
	fds      []int
	say      io.Writer
	answers  *bufio.Scanner
}

func newField(b *testing.B, sessions int) *field {
	b.Helper()
	f := &field{shop: newShop(), sessions: sessions}
	for id := range int64(20_000) {
		f.shop.set(rev(id+1, 1_000_000_000_000_000))
	}
	f.shop.html = ""
	f.shop.html = strings.Repeat("x", size-len(f.frame(b, 1)))
	f.hub = quietHub(b, f.shop, Config{MaxSessions: sessions, Ping: time.Hour}) // the floor has none
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), browsersAt+"="+l.Addr().String(), browsersAre+"="+strconv.Itoa(sessions))
	command.Stderr = os.Stderr
	say, err := command.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	answers, err := command.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := command.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { say.Close(); command.Wait() })
	f.say, f.answers = say, bufio.NewScanner(answers)
	for range sessions {
		conn, err := l.Accept()
		if err != nil {
			b.Fatal(err)
		}
		if err := f.hub.Adopt(conn, Join{}); err != nil {
			b.Fatal(err)
		}
	}
	f.until(20 * sessions) // each page shows nothing at first
	f.hub.mu.Lock()
	f.hub.table.all(func(s *session) { f.fds = append(f.fds, s.conn.(*epollConn).fd) })
	f.hub.mu.Unlock()
	return f
}

// until waits for so many deliveries since the hub was made, and has how many
// there are.
func (f *field) until(n int) int {
	for {
		var m dto.Metric
		if err := f.hub.metrics.deliveries.Write(&m); err != nil {
			panic(err)
		}
		if got := int(m.GetCounter().GetValue()); got >= n {
			return got
		}
		time.Sleep(5 * time.Millisecond) // each look costs, and the floor has none
	}
}

// frame is what the sessions are sent for the current version of a product.
func (f *field) frame(b *testing.B, id int64) []byte {
	b.Helper()
	fragment, err := f.shop.Fragment(b.Context(), render.Card, rev(id, 0))
	if err != nil {
		b.Fatal(err)
	}
	return appendFrame(nil, Full, []pick{{text: fragment.JSON()}})
}

// edit sets a new version, which is the time, and is it.
func (f *field) edit(id int64) store.Rev {
	r := rev(id, time.Now().UnixMicro())
	f.shop.set(r)
	return r
}

// byHub tells all sessions of an edit of each of the first products.
func (f *field) byHub(products int) {
	want := f.until(0) + products*f.sessions
	for id := range int64(products) {
		f.hub.Apply(f.edit(id + 1))
	}
	f.until(want)
}

// byLoop is the floor. The hub need not know: the next edit is newer.
func (f *field) byLoop(b *testing.B) {
	f.edit(1)
	frame := f.frame(b, 1)
	for _, fd := range f.fds {
		// A browser that has not caught up misses this one, as it might with the hub.
		if n, err := unix.Write(fd, frame); n < len(frame) && err != unix.EAGAIN {
			b.Fatal(n, err)
		}
	}
}

// cpu is the CPU time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (f *field) single(b *testing.B) {
	var hub, floor, ratio []float64
	for b.Loop() {
		loop := f.cost(func() { f.byLoop(b) }, 1)
		own := f.cost(func() { f.byHub(1) }, 1)
		floor, hub, ratio = append(floor, loop), append(hub, own), append(ratio, own/loop)
	}
	b.ReportMetric(median(floor), "µs/floor")
	b.ReportMetric(median(hub), "µs/delivery")
	b.ReportMetric(median(ratio), "of-floor")
}

func (f *field) joined(b *testing.B) {
	var one, each, ratio []float64
	for b.Loop() {
		alone := f.cost(func() { f.byHub(1) }, 1)
		ten := f.cost(func() { f.byHub(hot) }, hot)
		one, each, ratio = append(one, alone), append(each, ten), append(ratio, ten/alone)
	}
	b.ReportMetric(median(one), "µs/single")
	b.ReportMetric(median(each), "µs/delivery")
	b.ReportMetric(median(ratio), "of-single")
}

// cost is the CPU time of a delivery, in microseconds. The browsers have read
// all before, and so no write waits for them.
func (f *field) cost(tell func(), products int) float64 {
	before := cpu()
	tell()
	spent := cpu() - before
	f.ask("lag")
	return float64(spent.Nanoseconds()) / 1000 / float64(f.sessions*products)
}

func (f *field) latency(b *testing.B) {
	const edits = 20
	var p50, p99, floor50, floor99, ratio, seen []float64
	tenASecond := func(tell func()) lag {
		f.ask("lag")
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range edits {
			<-tick.C
			tell()
		}
		time.Sleep(100 * time.Millisecond)
		return f.ask("lag")
	}
	for b.Loop() {
		loop := tenASecond(func() { f.byLoop(b) })
		own := tenASecond(func() { f.hub.Apply(f.edit(1)) })
		seen = append(seen, float64(own.N)/float64(loop.N))
		p50, p99 = append(p50, own.P50), append(p99, own.P99)
		floor50, floor99 = append(floor50, loop.P50), append(floor99, loop.P99)
		ratio = append(ratio, own.P99/loop.P99)
	}
	b.ReportMetric(median(floor50), "ms-p50/floor")
	b.ReportMetric(median(floor99), "ms-p99/floor")
	b.ReportMetric(median(p50), "ms-p50")
	b.ReportMetric(median(p99), "ms-p99")
	b.ReportMetric(median(ratio), "p99-of-floor")
	b.ReportMetric(median(seen), "seen-of-floor") // the others were overtaken by a newer one
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// lag is what the browsers have seen since they were last asked: how many
// deliveries, and how old they were, in milliseconds.
type lag struct {
	N        int
	P50, P99 float64
}

func (f *field) ask(what string) (l lag) {
	fmt.Fprintln(f.say, what)
	f.answers.Scan()
	if err := json.Unmarshal(f.answers.Bytes(), &l); err != nil {
		panic(err)
	}
	return l
}

// What makes a process of these tests the browsers of another.
const browsersAt, browsersAre = "SHELFCAST_BROWSERS_AT", "SHELFCAST_BROWSERS_ARE"

func browse() bool {
	count, err := strconv.Atoi(os.Getenv(browsersAre))
	if err != nil {
		return false
	}
	browsers(os.Getenv(browsersAt), count)
	return true
}

// browsers connect, watch twenty products each and read until they are told to
// end.
func browsers(at string, count int) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	to, err := net.ResolveTCPAddr("tcp4", at)
	must(err)
	poll, err := unix.EpollCreate1(0)
	must(err)
	for n := range count {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		must(err)
		must(unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte(to.IP.To4())}))
		var r request
		for k := range int64(20) {
			id := k + 1
			if k >= hot {
				id = hot + 1 + (int64(n)*10+k)%(20_000-hot)
			}
			r.Watch = append(r.Watch, Watch{rev(id, 0), render.Card})
		}
		text, err := json.Marshal(r)
		must(err)
		_, err = unix.Write(fd, ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(text))))
		must(err)
		must(unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
	}
	var mu sync.Mutex
	var ages []int64
	go func() {
		buffer := make([]byte, 64<<10)
		events := make([]unix.EpollEvent, 256)
		for {
			n, err := unix.EpollWait(poll, events, -1)
			if err != nil && err != unix.EINTR {
				panic(err)
			}
			mu.Lock()
			for _, e := range events[:max(n, 0)] {
				got, _ := unix.Read(int(e.Fd), buffer)
				now := time.Now().UnixMicro()
				for rest := buffer[:max(got, 0)]; ; {
					_, after, ok := bytes.Cut(rest, []byte(`"version":`))
					if !ok || len(after) < 16 {
						break
					}
					rest = after
					version, err := strconv.ParseInt(string(after[:16]), 10, 64)
					must(err)
					ages = append(ages, now-version)
				}
			}
			mu.Unlock()
		}
	}()
	for asked := bufio.NewScanner(os.Stdin); asked.Scan(); {
		for n := -1; ; { // until all has come
			mu.Lock()
			same := n == len(ages)
			n = len(ages)
			mu.Unlock()
			if same {
				break
			}
			time.Sleep(30 * time.Millisecond)
		}
		mu.Lock()
		slices.SortFunc(ages, cmp.Compare)
		l := lag{N: len(ages)}
		if l.N > 0 {
			l.P50, l.P99 = float64(ages[l.N/2])/1000, float64(ages[l.N*99/100])/1000
		}
		ages = ages[:0]
		mu.Unlock()
		must(json.NewEncoder(os.Stdout).Encode(l))
	}
}
