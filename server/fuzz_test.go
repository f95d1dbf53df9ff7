package server

import (
	"strings"
	"testing"
)

// FuzzRedisURL checks that a URL gives a client, or an error that does not contain the
// password.
func FuzzRedisURL(f *testing.F) {
	for _, seed := range []string{"redis://u:topsecret@h:6379/0", "rediss+cluster://:topsecret@h:1?addr=h:2",
		"redis://:topsecret@h:1/0?master_name=m&addr=x", "unix://u:topsecret@/x", "redis://:topsecret@h:1/x?db=y",
		"redis://h?dial_timeout=x", ":topsecret@%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		rdb, err := newRedis(url, "")
		if err == nil {
			rdb.Close()
		} else if strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%q: %v", url, err)
		}
	})
}
