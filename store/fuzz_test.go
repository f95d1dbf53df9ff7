package store_test

import (
	"encoding/json"
	"strings"
	"testing"

	"shelfcast/store"
)

// FuzzPrice: what is taken for a price is written as it was read, and no input
// takes long or much memory.
func FuzzPrice(f *testing.F) {
	for _, seed := range []string{"19.90", "-1", "0", "1e999999999", "1E-999999999", "+5", "1_000", " 1", "NaN", ".5", "5.", strings.Repeat("9", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := store.ParsePrice(text)
		if err != nil {
			return
		}
		again, err := store.ParsePrice(p.String())
		if err != nil || !again.Equal(p.Decimal) || again.String() != p.String() {
			t.Errorf("%q became %q, and then %q: %v", text, p, again, err)
		}
		encoded, err := json.Marshal(p)
		var back store.Price
		if err != nil || json.Unmarshal(encoded, &back) != nil || !back.Equal(p.Decimal) {
			t.Errorf("%q is %s as JSON, and back %v", text, encoded, back)
		}
	})
}

// FuzzEdit: an edit from JSON is refused, or has what its JSON has.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{`{"price":"1.50","stock":3}`, `{"compare_at_price":null}`, `{"price":"1e99999999"}`, `{"title":"<b>"}`, `{"price":{}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e, again store.Edit
		if json.Unmarshal(text, &e) != nil {
			return
		}
		encoded, err := json.Marshal(e)
		if err != nil || json.Unmarshal(encoded, &again) != nil {
			t.Fatalf("%s: %v: %s", text, err, encoded)
		}
		if second, _ := json.Marshal(again); string(second) != string(encoded) {
			t.Errorf("%s became %s and then %s", text, encoded, second)
		}
	})
}

// FuzzSanitizeHTML: what came out clean stays as it is.
func FuzzSanitizeHTML(f *testing.F) {
	for _, seed := range []string{`<p onclick="x()">a<script>b</script></p>`, `<a href="javascript:x()">`, `<svg/onload=x()>`, `<<script>script>x`, "<p\x00>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clean := store.SanitizeHTML(text)
		if lower := strings.ToLower(clean); strings.Contains(lower, "<script") || strings.Contains(lower, "<svg") || strings.Contains(lower, "<iframe") {
			t.Errorf("%q became %q", text, clean)
		}
	})
}
