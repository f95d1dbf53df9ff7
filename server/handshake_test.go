package server_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"shelfcast/server"
)

// Both WebSocket endpoints check the handshake (RFC 6455, 4.2.1).
func TestBadHandshakesAreRefused(t *testing.T) {
	t.Parallel()
	address := startFleet(t, nil).instances[1].PublicAddr()
	for _, path := range []string{"/live", "/websocket"} {
		for _, c := range []struct {
			headers map[string]string
			want    int
		}{
			{nil, 101},
			{map[string]string{"Sec-WebSocket-Key": "c2hvcnQ="}, 400},
			{map[string]string{"Sec-WebSocket-Key": "!!!!!!!!!!!!!!!!!!!!!!=="}, 400},
			{map[string]string{"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ=="}, 400},
			{map[string]string{"Sec-WebSocket-Version": "8"}, 426},
		} {
			if _, answer, _ := handshake16(t, address, path, c.headers); answer.StatusCode != c.want {
				t.Errorf("%s with %v: %s, want %d", path, c.headers, answer.Status, c.want)
			}
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nHost: %s\r\nOrigin: http://%[2]s\r\nConnection: Upgrade\r\n"+
			"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
			path, address)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s by HTTP/1.0: %v %v", path, answer, err)
		}
	}
}

// WebSockets, streams and polls of an address share one rate, which does not affect
// other addresses.
func TestJoinRatePerAddress(t *testing.T) {
	t.Parallel()
	f := startFleet(t, func(s *server.Settings) {
		s.MaxPerAddress, s.AddressRate, s.TrustedProxies = 1000, 1, []string{"127.0.0.0/8"}
	})
	for n, path := range []string{"/live", "/websocket", "/live/sse?watch=1:1", "/live/poll?watch=1:1"} {
		at := func(address string) int {
			_, answer, _ := handshake16(t, f.instances[0].PublicAddr(), path, map[string]string{"X-Forwarded-For": address})
			return answer.StatusCode
		}
		mine, other := fmt.Sprintf("192.0.2.%d", n), fmt.Sprintf("198.51.100.%d", n)
		refused := false
		for range 20 { // one a second, however slow this machine is
			refused = refused || at(mine) == http.StatusTooManyRequests
		}
		if !refused {
			t.Errorf("%s: twenty at once were let in", path)
		}
		if status := at(other); status != 101 && status != 200 {
			t.Errorf("%s: another got %d", path, status)
		}
	}
}
