package mask_test

import (
	"testing"

	"shelfcast/cmd/shelfcast/mask"
)

// What remains is what an operator needs.
func TestMaskHidesSecrets(t *testing.T) {
	for _, c := range []struct {
		hide     func(string) string
		in, want string
	}{
		{mask.DSN, "", ""},
		{mask.DSN, "root@tcp(127.0.0.1:3306)/shop", "root@tcp(127.0.0.1:3306)/shop"},
		{mask.DSN, "shop:pass@tcp(db:3306)/shop?tls=true&timeout=2s", "shop:***@tcp(db:3306)/shop?tls=true&timeout=2s"},
		{mask.DSN, "shop:p/a?s@s@tcp(db:3306)/shop?charset=utf8mb4", "shop:***@tcp(db:3306)/shop?charset=utf8mb4"},
		{mask.DSN, "shop:pass@/shop", "shop:***@tcp(127.0.0.1:3306)/shop"},
		{mask.DSN, "db:3306", "***"},
		{mask.URL, "redis://cache:6379/0", "redis://cache:6379/0"},
		{mask.URL, "rediss://app:pass@cache:6379/0", "rediss://app:***@cache:6379/0"},
		{mask.URL, "redis://:pass@cache:6379/0", "redis://***@cache:6379/0"},
		{mask.URL, "redis://s1:26379/0?master_name=shop&addr=s2:26379&password=pass&username=me",
			"redis://s1:26379/0?master_name=shop&addr=s2:26379&password=***&username=***"},
		{mask.URL, "https://idp.example/keys?tenant=7", "https://idp.example/keys?tenant=***"},
		{mask.URL, "cache:6379", "***"},
		{mask.Text, "Test & Sons", "Test & Sons"},
		{mask.Text, "you@home", "you@home"},
		{mask.Text, "https://shop.example", "https://shop.example"},
		{mask.All, "", ""},
		{mask.All, "x", "***"},
	} {
		if got := c.hide(c.in); got != c.want {
			t.Errorf("%s: got %s, want %s", c.in, got, c.want)
		}
	}
}
