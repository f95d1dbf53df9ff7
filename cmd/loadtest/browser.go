package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/internal/liveclient"
	"shelfcast/store"
)

// A browser has one page open: it watches its products, and reconnects when it is
// cut off, as the shop's client does.
type browser struct {
	n       int
	workers *workers
	slow    bool // stops reading in the mode slow

	mu    sync.Mutex
	shown map[int64]int64 // product → version, 0 until it is shown
	conn  net.Conn        // nil while there is none
}

// live keeps the page open until ctx ends. It first waits for its turn, so that
// browsers join at a rate.
func (b *browser) live(ctx context.Context, turn time.Duration) {
	wait := turn
	for failures := 0; ; {
		if err := sleep(ctx, wait); err != nil {
			return
		}
		conn, err := b.open(ctx)
		if err == nil {
			failures = 0
			err = b.read(conn)
			b.mu.Lock()
			b.conn = nil
			b.mu.Unlock()
			conn.Close()
			closed, _ := errors.AsType[*liveclient.Closed](err)
			planned := closed != nil && closed.Code == statusRestart
			b.workers.count(func(t *tick) {
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
				b.workers.count(func(t *tick) { t.Refused++ })
			} else {
				b.workers.fail(err)
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

// open opens the session and watches what the page shows.
func (b *browser) open(ctx context.Context) (*liveclient.Conn, error) {
	orders := b.workers.orders
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
		Header: ws.HandshakeHeaderString(
			"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
				"Chrome/142.0.0.0 Safari/537.36\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
				"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\nCookie: " +
				"session_id=5f2c0d8e7a914b3f9c61d0a4; frontend_lang=en_US; tz=Europe/Berlin; _ga=GA1.1.1234567890.1795433536\r\n"),
	}
	conn, err := liveclient.Dial(ctx, handshake, orders.Live[b.n%len(orders.Live)])
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	shown := make([]store.Rev, 0, len(b.shown))
	for id, version := range b.shown {
		shown = append(shown, store.Rev{ID: id, Version: version})
	}
	b.conn = conn
	b.mu.Unlock()
	if err := conn.Watch("card", shown...); err != nil {
		conn.Close()
		return nil, err
	}
	b.workers.count(func(t *tick) {
		t.Sessions++
		t.Opened++
		if t.Dates == nil {
			t.Dates = map[int64]int{}
		}
		t.Dates[date.Unix()]++
	})
	return conn, nil
}

// statusRestart is the close code of a server that restarts (service restart, in
// IANA's registry).
const statusRestart ws.StatusCode = 1012

// read takes what arrives until the connection ends.
func (b *browser) read(conn *liveclient.Conn) error {
	for {
		b.workers.pause(b)
		text, err := conn.ReadMessage()
		if err == nil {
			err = b.take(text, time.Now().UnixMicro())
		}
		if err != nil {
			return err
		}
	}
}

// take records the versions in a frame. It searches for them instead of decoding
// the JSON: a quote within a string is escaped, so these bytes occur nowhere else.
func (b *browser) take(payload []byte, now int64) error {
	if bytes.HasPrefix(payload, []byte(`{"error"`)) {
		b.workers.fail(fmt.Errorf("the server answered %s", payload))
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
			b.workers.fail(fmt.Errorf("product %d went back from %d to %d", id, before, v))
		}
		b.shown[id] = v
		b.workers.delivered(b, v, now)
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

// cut closes the connection without a close frame.
func (b *browser) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		b.conn.Close()
	}
}

// wrong counts the products whose shown version is not the current one.
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
