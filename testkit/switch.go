package testkit

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A Switch is a TCP proxy whose target can be changed. Open connections keep theirs.
type Switch struct {
	Addr   string // host:port
	target atomic.Pointer[string]

	mu   sync.Mutex
	open map[net.Conn]bool
}

// NewSwitch starts a Switch to that address. It ends with the test.
func NewSwitch(t testing.TB, target string) *Switch {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Switch{Addr: listener.Addr().String(), open: map[net.Conn]bool{}}
	s.SetTarget(target)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.forward(client) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		s.Cut()
		running.Wait()
	})
	return s
}

// SetTarget sends new connections to another address.
func (s *Switch) SetTarget(target string) { s.target.Store(&target) }

// Cut closes all open connections.
func (s *Switch) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.open {
		conn.Close()
	}
}

func (s *Switch) forward(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", *s.target.Load())
	if err != nil {
		return
	}
	defer server.Close()
	for _, conn := range []net.Conn{client, server} {
		s.mu.Lock()
		s.open[conn] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		}()
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // it ends when either side does
			way[0].Close()
			way[1].Close()
		})
	}
	both.Wait()
}
