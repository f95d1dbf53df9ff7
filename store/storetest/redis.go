package storetest

import (
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A RedisServer is a Redis of one test's own. It keeps nothing when it stops.
type RedisServer struct {
	*process
	addr string
}

// Addr is host:port.
func (r *RedisServer) Addr() string { return r.addr }

// URL is for redis.ParseURL.
func (r *RedisServer) URL() string { return "redis://" + r.addr + "/0" }

// Redis is the URL of a Redis of this test's own.
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t).URL()
}

// StartRedis starts a Redis, which ends with the test.
func StartRedis(t testing.TB) *RedisServer {
	t.Helper()
	program := find(t, "redis-server", "redis-server")
	var err error
	for range 5 { // somebody else may take the port first
		port := FreePort(t)
		dir := t.TempDir()
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		r := &RedisServer{addr: addr, process: &process{
			t: t, dir: dir, log: filepath.Join(dir, "redis.log"),
			argv: []string{program, "--port", strconv.Itoa(port), "--bind", "127.0.0.1",
				"--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", dir},
			ready: func() error { return pong(addr) },
		}}
		if err = r.start(); err == nil {
			t.Cleanup(r.Kill)
			return r
		}
		r.Kill()
	}
	t.Fatal(err)
	return nil
}

// pong is nil when a Redis answers at addr.
func pong(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err == nil && !strings.HasPrefix(string(answer[:n]), "+PONG") {
		err = fmt.Errorf("answered %q", answer[:n])
	}
	return err
}
