package testkit

import (
	"os"
	"path/filepath"
	"strings"
)

// Command sends a command and returns the reply, as redis-cli prints it.
func (r *RedisServer) Command(command ...string) string {
	r.t.Helper()
	return redisCLI(r.t, r.addr, command...)
}

// mustSucceed is Command for a command that must succeed.
func (r *RedisServer) mustSucceed(command ...string) {
	r.t.Helper()
	if reply := r.Command(command...); strings.TrimSpace(reply) != "OK" {
		r.t.Fatalf("%s: %s", strings.Join(command, " "), reply)
	}
}

// Dump saves the server's data to its file, which the next Start loads.
func (r *RedisServer) Dump() { r.t.Helper(); r.mustSucceed("SAVE") }

// SimulateOOM makes the server reject all writes with OOM, as if it were full. It serves
// reads.
func (r *RedisServer) SimulateOOM() {
	r.t.Helper()
	r.mustSucceed("CONFIG", "SET", "maxmemory-policy", "noeviction")
	r.mustSucceed("CONFIG", "SET", "maxmemory", "1")
}

// FailSaves makes the server reject all writes with MISCONF, because saving failed
// (stop-writes-on-bgsave-error). It serves reads.
func (r *RedisServer) FailSaves() {
	r.t.Helper()
	r.mustSucceed("CONFIG", "SET", "stop-writes-on-bgsave-error", "yes")
	r.mustSucceed("CONFIG", "SET", "save", "3600 1")
	file := filepath.Join(r.dir, "dump.rdb") // a file cannot replace a non-empty folder
	if err := os.RemoveAll(file); err != nil {
		r.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "full"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	r.Command("BGSAVE")
	Eventually(r.t, "a save has failed", func() bool {
		return strings.Contains(r.Command("INFO", "persistence"), "rdb_last_bgsave_status:err")
	})
}
