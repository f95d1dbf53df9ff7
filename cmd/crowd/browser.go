package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// A browser has one page open: it watches its products, and comes back when it
// is cut off, as the client of the shop does.
type browser struct {
	n     int
	crowd *workers
	slow  bool // of those who stop reading

	mu    sync.Mutex
	shown map[int64]int64 // product → version, 0 until it is shown
	conn  net.Conn        // nil while there is none
}

// live opens the page again and again until ctx ends. It first comes at its
// turn, so that the crowd gathers at a rate.
func (b *browser) live(ctx context.Context, turn time.Duration) {
	wait := turn
	for failures := 0; ; {
		if err := sleep(ctx, wait); err != nil {
			return
		}
		conn, r, err := b.open(ctx)
		if err == nil {
			failures = 0
			err = b.read(conn, r)
			b.mu.Lock()
			b.conn = nil
			b.mu.Unlock()
			conn.Close()
			planned := errors.Is(err, errRestart)
			b.crowd.count(func(t *tick) {
				t.Sessions--
				t.Lost++
				if planned {
					t.Planned++
				} else {
					t.Cut = err.Error()
				}
			})
		} else if ctx.Err() == nil {
			if status, ok := errors.AsType[ws.StatusError](err); ok && int(status) == 503 {
				b.crowd.count(func(t *tick) { t.Refused++ })
			} else {
				b.crowd.fail(err)
			}
		}
		// Full jitter: anywhere between nothing and a cap that doubles.
		wait = rand.N(min(30*time.Second, 500*time.Millisecond<<min(failures, 10)))
		failures++
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// open makes the handshake, and says what the page shows.
func (b *browser) open(ctx context.Context) (net.Conn, *bufio.Reader, error) {
	orders := b.crowd.orders
	dialer := net.Dialer{Timeout: 20 * time.Second}
	if len(orders.Sources) > 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(orders.Sources[b.n%len(orders.Sources)])}
	}
	var date time.Time
	handshake := ws.Dialer{
		OnHeader: func(key, value []byte) (err error) {
			if string(key) == "Date" {
				date, err = http.ParseTime(string(value))
			}
			return err
		},
		Timeout: 20 * time.Second, ReadBufferSize: 512, WriteBufferSize: 512, NetDial: dialer.DialContext,
		Protocols: []string{"shelfcast.v1"},
		Header: ws.HandshakeHeaderString("User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n" +
			"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9,de;q=0.8\r\nCookie: session_id=5f2c0d8e7a914b3f9c61d0a4; frontend_lang=en_US; tz=Europe/Berlin; _ga=GA1.1.1234567890.1795433536\r\n"),
	}
	conn, early, _, err := handshake.Dial(ctx, orders.Live[b.n%len(orders.Live)])
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(conn, 1024)
	if early != nil {
		rest, _ := io.ReadAll(io.LimitReader(early, int64(early.Buffered())))
		r = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(rest), conn), 1024)
	}
	b.mu.Lock()
	text := []byte(`{"watch":[`)
	for id, version := range b.shown {
		text = fmt.Appendf(text, `{"id":%d,"version":%d,"view":"card"},`, id, version)
	}
	b.conn = conn
	b.mu.Unlock()
	text = append(text[:len(text)-1], "]}"...)
	if err := wsutil.WriteClientText(conn, text); err != nil {
		conn.Close()
		return nil, nil, err
	}
	b.crowd.count(func(t *tick) {
		t.Sessions++
		t.Opened++
		if t.Dates == nil {
			t.Dates = map[int64]int{}
		}
		t.Dates[date.Unix()]++
	})
	return conn, r, nil
}

// statusRestart is what a server says that goes on elsewhere: 1012 of the IANA
// registry of close codes.
const statusRestart ws.StatusCode = 1012

var errRestart = errors.New("closed because the server restarts")

// read takes what comes until the connection ends.
func (b *browser) read(conn net.Conn, r *bufio.Reader) error {
	for {
		b.crowd.pause(b)
		h, err := ws.ReadHeader(r)
		if err != nil {
			return err
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return err
		}
		switch h.OpCode {
		case ws.OpPing:
			// The close frame may have come with it, and then nobody is there to
			// be answered. That somebody else is not, the next read says.
			_ = wsutil.WriteClientMessage(conn, ws.OpPong, payload)
		case ws.OpClose:
			if code, _ := ws.ParseCloseFrameData(payload); code != statusRestart {
				return fmt.Errorf("closed with %d", code)
			}
			return errRestart
		case ws.OpText:
			err = b.take(payload, time.Now().UnixMicro())
		}
		if err != nil {
			return err
		}
	}
}

// take notes the versions in a frame. They are looked for and not decoded: in
// JSON, a quote within a string has a backslash before it, and so these bytes
// are nowhere else.
func (b *browser) take(payload []byte, now int64) error {
	if bytes.HasPrefix(payload, []byte(`{"error"`)) {
		b.crowd.fail(fmt.Errorf("the server says %s", payload))
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for rest := payload; ; {
		_, after, ok := bytes.Cut(rest, []byte(`{"id":`))
		if !ok {
			return nil
		}
		number, after, _ := bytes.Cut(after, []byte(`,"version":`))
		version, after, _ := bytes.Cut(after, []byte(`,`))
		id, err := strconv.ParseInt(string(number), 10, 64)
		v, err2 := strconv.ParseInt(string(version), 10, 64)
		if err := cmpOr(err, err2); err != nil {
			return err
		}
		before, watched := b.shown[id]
		if !watched {
			return fmt.Errorf("was sent product %d, which it does not watch", id)
		}
		if v < before {
			b.crowd.fail(fmt.Errorf("product %d went back from %d to %d", id, before, v))
		}
		b.shown[id] = v
		b.crowd.delivered(b, v, now)
		rest = after
	}
}

func cmpOr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// cut ends the connection without a word.
func (b *browser) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
	}
}

// wrong counts the products that are not shown as they are.
func (b *browser) wrong(now map[int64]int64) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, version := range b.shown {
		if now[id] != version {
			n++
		}
	}
	return n
}
