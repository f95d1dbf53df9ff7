package testkit

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A RedisServer is a Redis server for one test. It loses its data when it stops.
type RedisServer struct {
	*process
	addr string
}

// Addr returns host:port.
func (r *RedisServer) Addr() string { return r.addr }

// URL returns a URL for redis.ParseURL.
func (r *RedisServer) URL() string { return "redis://" + r.addr + "/0" }

// Redis starts a Redis server for this test and returns its URL.
func Redis(t testing.TB) string {
	t.Helper()
	return StartRedis(t).URL()
}

// StartRedis starts a Redis server, which ends with the test. The flags follow the
// default ones.
func StartRedis(t testing.TB, flags ...string) *RedisServer {
	t.Helper()
	return startRedis(t, pong, func(dir string, port int) []string {
		return append([]string{"--port", strconv.Itoa(port), "--save", "", "--appendonly", "no"}, flags...)
	})
}

// StartRedisTLS starts a Redis server that requires TLS and the password "secret". ca is
// the file of its certificate's authority. It ends with the test.
func StartRedisTLS(t testing.TB) (server *RedisServer, ca string) {
	t.Helper()
	ca, cert, key := Certificates(t)
	server = startRedis(t, pongTLS, func(dir string, port int) []string {
		return []string{"--port", "0", "--tls-port", strconv.Itoa(port), "--tls-cert-file", cert, "--tls-key-file", key,
			"--tls-ca-cert-file", ca, "--tls-auth-clients", "no", "--save", "", "--appendonly", "no", "--requirepass", "secret"}
	})
	return server, ca
}

// startRedis starts a server with the flags for a folder and a port, and waits until
// ready returns nil.
func startRedis(t testing.TB, ready func(addr string) error, flags func(dir string, port int) []string) *RedisServer {
	t.Helper()
	program := cmp.Or(chosen(t, "SHELFCAST_TEST_REDIS"), find(t, "redis-server", "redis-server"))
	var err error
	for range 5 { // another process may take the port first
		port, dir := FreePort(t), t.TempDir()
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		r := &RedisServer{addr: addr, process: &process{
			t: t, dir: dir, log: filepath.Join(dir, "redis.log"),
			argv: append(append([]string{program}, flags(dir, port)...),
				"--bind", "127.0.0.1", "--daemonize", "no", "--dir", dir),
			ready: func() error { return ready(addr) },
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

// pong returns nil if a Redis answers at addr, also if it requires a password.
func pong(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	return ping(conn)
}

// pongTLS is pong for a Redis with TLS.
func pongTLS(addr string) error {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return err
	}
	return ping(conn)
}

func ping(conn net.Conn) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	said := string(answer[:n])
	if err == nil && !strings.HasPrefix(said, "+PONG") && !strings.HasPrefix(said, "-NOAUTH") {
		err = fmt.Errorf("answered %q", said)
	}
	return err
}
