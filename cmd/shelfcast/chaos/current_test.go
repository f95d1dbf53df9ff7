package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"shelfcast/testkit/fleettest"
)

// current requests all products from an instance through the routes without a
// version, and compares the answers with the database.
func (s *scenario) current(i *fleettest.Instance) {
	s.t.Helper()
	for _, id := range s.ids {
		p, err := s.db.Product(context.Background(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		fragment := fmt.Sprintf("http://%s/fragments/card/%d", i.Public, id)
		if answer, err := http.Get(fragment); err != nil {
			s.t.Error(err)
		} else if version := numberIn(answer, "version"); version < p.Version {
			s.t.Errorf("%s has version %d, and %d is committed", fragment, version, p.Version)
		}
		call := fmt.Sprintf(`{"id":1,"params":{"product_id":%d}}`, id)
		url := "http://" + i.Public + "/product/tree/sync"
		if answer, err := http.Post(url, "application/json", strings.NewReader(call)); err != nil {
			s.t.Error(err)
		} else if version := numberIn(answer, "result.version"); version < p.Version {
			s.t.Errorf("%s has version %d, and %d is committed", call, version, p.Version)
		}
	}
}

// numberIn returns the number at that path in the JSON of an answer, or 0.
func numberIn(answer *http.Response, path string) int64 {
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body) // what has come counts
	return gjson.GetBytes(text, path).Int()
}
