package api

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// What visitors look for is kept as they have written it: the next request on a
// connection has its text where that of the one before was.
func TestWhatIsKeptOfVisitorsStaysTheirs(t *testing.T) {
	b := newBare(t).listen()
	const visits = 400
	asked := map[string]bool{"": true}
	var visitors sync.WaitGroup
	for _, name := range []string{"ann", "bob"} {
		for n := range visits {
			asked[fmt.Sprintf("%s%06d", name, n)] = true
		}
		visitors.Go(func() {
			conn, err := net.Dial("tcp", b.publicAddress)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			from := bufio.NewReader(conn)
			for n := range visits {
				word := fmt.Sprintf("%s%06d", name, n)
				query := "q=" + word
				if n%2 == 1 {
					query = "vendor=" + word
				}
				fmt.Fprintf(conn, "GET /shop?%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query)
				if got := readAnswer(t, from, "GET"); got.status != 200 || !strings.Contains(got.body, word) {
					t.Errorf("%s: %d", query, got.status)
					return
				}
			}
		})
	}
	visitors.Wait()
	keys := slices.Collect(b.public.pages.Keys())
	for _, key := range keys {
		if !asked[key.text] || !asked[key.vendor] {
			t.Errorf("a page is kept as that of %q, %q, for which nobody has asked", key.text, key.vendor)
		}
	}
	if len(keys) < visits {
		t.Errorf("only %d pages are kept", len(keys))
	}
	for key := range b.public.lists.values.All() {
		if text := key[strings.IndexByte(key, '{'):]; strings.Contains(text, "ann") && strings.Contains(text, "bob") {
			t.Errorf("a list is kept as %s", key)
		}
	}
	// Each is found again: a key that changed under its cache is not, and is never dropped.
	for _, key := range keys {
		if _, ok := b.public.pages.GetIfPresent(key); !ok {
			t.Errorf("the page of %q, %q is kept and not found", key.text, key.vendor)
		}
	}
}
