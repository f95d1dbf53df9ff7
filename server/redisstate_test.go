package server_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"shelfcast/server"
	"shelfcast/testkit"
)

// A logbook is a log that can be read while it is written.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// The log has one line when Redis begins to reject writes, with the reason, and one when it accepts them again.
func TestRejectedRedisWritesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	for prefix, c := range map[string]struct {
		begin, end func(*testkit.RedisServer)
	}{
		"OOM": {(*testkit.RedisServer).SimulateOOM,
			func(r *testkit.RedisServer) { r.Command("CONFIG", "SET", "maxmemory", "0") }},
		"MISCONF": {(*testkit.RedisServer).FailSaves,
			func(r *testkit.RedisServer) { r.Command("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") }},
	} {
		t.Run(prefix, func(t *testing.T) {
			log := &logbook{}
			f := startFleetOf(t, 1, testkit.DSN(t), server.Options{Log: slog.New(slog.NewTextHandler(log, nil))}, nil)
			lamp := f.product(t, "lamp")
			if n := f.counter(t, "shelfcast_redis_errors_total"); n != 0 {
				t.Errorf("%v errors of a Redis that is well", n)
			}
			c.begin(f.redis)
			for n := range 5 {
				lamp = f.edit(t, 0, lamp.Rev, `{"stock":`+itoa(int64(100+n))+`}`)
				call(t, "GET", f.public(0, "/shop"), "", nil)
			}
			testkit.Eventually(t, "it is in the log", func() bool { return log.count("error=\""+prefix+" ") > 0 })
			c.end(f.redis)
			testkit.Eventually(t, "its end is in the log", func() bool {
				lamp = f.edit(t, 0, lamp.Rev, `{"stock":`+itoa(lamp.Stock+1)+`}`)
				call(t, "GET", f.public(0, "/shop"), "", nil)
				return log.count("Redis accepts writes again") > 0
			})
			if n, ended := log.count("rejects writes"), log.count("Redis accepts writes again"); n != 1 || ended != 1 {
				t.Errorf("%d lines that it begins, and %d that it ends\n%s", n, ended, log.text.String())
			}
		})
	}
}
