package realtime

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// FuzzWatchList: a list that is taken is written as we write it, but for what may be
// left out.
func FuzzWatchList(f *testing.F) {
	for _, seed := range []string{"1:5:card,2:0:detail", "1", "1:5", "01:5:card", "1:+5", "1,1", ",", "1:5:card:",
		"9223372036854775807:1", "1:9007199254740993"} {
		f.Add(seed)
	}
	h := NewHub(newShop(), Config{MaxProducts: 8})
	f.Fuzz(func(t *testing.T, text string) {
		all, err := h.ParseWatch(text)
		if err != nil || text == "" {
			return
		}
		for i, item := range strings.Split(text, ",") {
			w := all[i]
			said := append(strings.SplitN(item, ":", 3), "", "")
			want := fmt.Sprintf("%s:%s:%s", said[0], cmp.Or(said[1], "0"), cmp.Or(said[2], "card"))
			got := fmt.Sprintf("%d:%d:%s", w.ID, w.Version, w.View)
			if got != want || w.ID <= 0 || w.Version < 0 || w.Version > maxVersion {
				t.Errorf("%q is taken for %s", item, got)
			}
		}
	})
}
