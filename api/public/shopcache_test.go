package public

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"shelfcast/api/apitest"
)

// Search texts are cache keys. Fiber would reuse their memory for the next request on the connection.
func TestCachedSearchesKeepTheirText(t *testing.T) {
	b := newOfflinePublic(t).listen(t)
	const visits = 400
	asked := map[string]bool{"": true}
	var visitors sync.WaitGroup
	for _, name := range []string{"ann", "bob"} {
		for n := range visits {
			asked[fmt.Sprintf("%s%06d", name, n)] = true
		}
		visitors.Go(func() {
			conn, err := net.Dial("tcp", b.address)
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
				if got := apitest.ReadResponse(t, from, "GET"); got.Status != 200 || !strings.Contains(got.Body, word) {
					t.Errorf("%s: %d", query, got.Status)
					return
				}
			}
		})
	}
	visitors.Wait()
	keys := slices.Collect(b.pages.Keys())
	for _, key := range keys {
		if !asked[key.text] || !asked[key.vendor] {
			t.Errorf("a page is kept as that of %q, %q, for which nobody has asked", key.text, key.vendor)
		}
	}
	if len(keys) < visits {
		t.Errorf("only %d pages are kept", len(keys))
	}
	for key := range b.lists.entries.All() {
		if text := key[strings.IndexByte(key, '{'):]; strings.Contains(text, "ann") && strings.Contains(text, "bob") {
			t.Errorf("a list is kept as %s", key)
		}
	}
	// Each page is found again: a key that changed in the cache would not be, and would never be dropped.
	for _, key := range keys {
		if _, ok := b.pages.GetIfPresent(key); !ok {
			t.Errorf("the page of %q, %q is kept and not found", key.text, key.vendor)
		}
	}
}
