package admin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"shelfcast/api/apitest"
	"shelfcast/api/httpx"
	"shelfcast/store"
	"shelfcast/testkit"
)

func TestAdminRefusesCompressedBodies(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	apitest.CompressedBodiesAreRefused(t, b.app, b.address, rootToken)
}

func TestAdminRefusesForms(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	apitest.FormsAreRefused(t, b.address, rootToken, "/api/v1/products:import", "/api/v1/products:batch", "/admin")
}

func TestAdminBuffersNoBodyOfUnauthorizedCalls(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	reader := "a token that may only read"
	b.valid[reader] = store.Token{ID: 7, Name: "reader", Scopes: []string{store.ReadProducts}}
	const batch = "/api/v1/products:batch"
	apitest.RefusedUploadsAreNotBuffered(t, b.address, []apitest.Upload{
		{Name: "no token", Path: batch, Token: "", Size: 16 << 20, Status: 401},
		{Name: "no token and too large", Path: batch, Token: "", Size: 48 << 20, Status: 401},
		{Name: "a token without the scope", Path: batch, Token: reader, Size: 16 << 20, Status: 403},
		{Name: "too large", Path: batch, Token: rootToken, Size: 32 << 20, Status: 413},
		{Name: "an import without a token", Path: "/api/v1/products:import", Token: "", Size: 16 << 20, Status: 401},
		{Name: "no such path", Path: "/nothing", Token: rootToken, Size: 16 << 20, Status: 404},
		{Name: "a page", Path: "/admin", Token: "", Size: 16 << 20, Status: 405},
	})
	b.holdsNoBody(t)
}

// Valid bodies take no more memory than their budget, all together and those of each caller. It is free again when
// they are answered.
func TestBodiesTakeNoMoreThanTheirBudget(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	const size = 1<<20 - 1                                    // with the byte that shows that there is no more
	b.bodies.Budget = httpx.NewBudget(4*(size+1), 2*(size+1)) // bodies that are there at once
	for id, secret := range []string{"", "the first", "the second", "the third"} {
		b.valid[secret] = store.Token{ID: int64(id), Scopes: store.Scopes}
	}
	begin := func(token string, size int) net.Conn {
		conn, err := net.Dial("tcp", b.address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "POST /api/v1/products HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", token)
		fmt.Fprintf(conn, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", size)
		return conn
	}
	status := func(conn net.Conn) int { return apitest.ReadResponse(t, bufio.NewReader(conn), "POST").Status }
	holds := func(want int64) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d bytes are held", want), func() bool {
			bytes, _ := b.bodies.Held()
			return bytes == want
		})
	}
	var slow []net.Conn
	for n, token := range []string{"the first", "the first", "the second", "the second"} {
		conn := begin(token, size)
		apitest.WriteZeros(conn, size-1)
		slow = append(slow, conn)
		holds(int64(n+1) * (size + 1))
	}
	for _, token := range []string{"the first", "the third"} { // that one has its share, and the other has none left
		conn := begin(token, 1<<10)
		apitest.WriteZeros(conn, 1<<10)
		if got := status(conn); got != http.StatusServiceUnavailable {
			t.Errorf("%s: %d", token, got)
		}
	}
	for _, conn := range slow[:2] {
		apitest.WriteZeros(conn, 1)
		if got := status(conn); got != http.StatusBadRequest { // so many zeros are no JSON
			t.Errorf("a slow body: %d", got)
		}
	}
	for _, conn := range slow[2:] {
		conn.Close()
	}
	b.holdsNoBody(t)
	conn := begin("the third", 1<<10)
	apitest.WriteZeros(conn, 1<<10)
	if got := status(conn); got != http.StatusBadRequest {
		t.Errorf("afterwards: %d", got)
	}
}

// A problem says what is wrong with a body in a few words, and does not repeat the body.
func TestProblemsDoNotEchoTheBody(t *testing.T) {
	b := newOfflineAdmin(t).listen(t)
	for name, body := range map[string]string{
		"no JSON":         strings.Repeat("x", 8<<20),
		"too many edits":  `{"edits":[` + strings.Repeat(`1,`, 1<<20) + `1]}`,
		"too long a text": `{"edits":[{"action":"` + strings.Repeat("x", 8<<20) + `"}]}`,
	} {
		got := apitest.Send(t, b.address, "POST", func(w io.Writer) {
			fmt.Fprintf(w, "POST /api/v1/products:batch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n", rootToken)
			fmt.Fprintf(w, "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		})
		if got.Status != 400 && got.Status != 422 || len(got.Body) > 64<<10 {
			t.Errorf("%s: %d, in %d bytes", name, got.Status, len(got.Body))
		}
	}
}
