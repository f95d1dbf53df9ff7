package server

import (
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// redisRefusals are the states in which Redis responds but rejects commands, by the
// prefix of its errors.
var redisRefusals = []struct{ prefix, message string }{
	{"LOADING", "Redis is loading its data and rejects all commands"},
	{"MISCONF", "Redis cannot save to disk and rejects writes; cached data will go stale"},
	{"OOM", "Redis is full and rejects writes; cached data will go stale"},
	{"READONLY", "Redis is a replica and rejects writes"},
	{"NOPERM", "the Redis user lacks required permissions; run shelfcast doctor"},
}

// redisState logs when Redis enters or leaves one of these states. Its methods may be
// called concurrently.
type redisState struct {
	log *slog.Logger
	is  atomic.Int32 // 1 + index in redisRefusals; 0: none
}

// observe logs once that Redis begins to reject commands, and once that it accepts writes
// again, which only a successful SET shows: SET is rejected in each of these states.
func (s *redisState) observe(cmds ...redis.Cmder) {
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			s.reject(err, cmd.Name())
			continue
		}
		if is := s.is.Load(); is != 0 && cmd.Name() == "set" && s.is.CompareAndSwap(is, 0) {
			s.log.Info("Redis accepts writes again", "after", redisRefusals[is-1].prefix)
		}
	}
}

func (s *redisState) reject(err error, command string) {
	for n, r := range redisRefusals {
		if !strings.HasPrefix(err.Error(), r.prefix+" ") {
			continue
		}
		if s.is.CompareAndSwap(0, int32(n+1)) {
			s.log.Warn(r.message, "command", command, "error", err)
		}
		return
	}
}
