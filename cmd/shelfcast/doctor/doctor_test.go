package doctor

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// healthy are settings in which nothing is wrong, on real servers.
func healthy(t *testing.T) server.Settings {
	t.Helper()
	s := settled()
	s.MySQL = migrated(t, testkit.DSN(t))
	s.Redis = testkit.StartRedis(t, sound...).URL()
	return s
}

// settled are settings in which nothing is wrong but that there are no servers.
func settled() server.Settings {
	return server.Settings{
		Database:  server.Database{MaxOpen: 16, Timeout: 3 * time.Second, MySQL: "shop@tcp(127.0.0.1:1)/shop"},
		Redis:     "redis://127.0.0.1:1/0",
		PublicURL: "https://shop.example", Origins: []string{"https://shop.example"}, TrustedProxies: []string{"10.0.0.0/8"},
		MaxSessions: 100, MaxPerAddress: 50,
	}
}

// sound are the flags of a Redis that is as it should be.
var sound = []string{"--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"}

func migrated(t *testing.T, dsn string) string {
	t.Helper()
	db := opened(t, dsn)
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dsn
}

func opened(t *testing.T, dsn string) *store.DB {
	t.Helper()
	db, err := store.Open(dsn, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// findings are what is not in order, by code.
func findings(r Report) map[string]Severity {
	found := map[string]Severity{}
	for _, f := range r.Findings {
		if f.Severity != OK {
			found[f.Code] = f.Severity
		}
	}
	return found
}

// wrong fails the test unless exactly this is found, in these words.
func wrong(t *testing.T, r Report, want map[string]Severity, words ...string) {
	t.Helper()
	if got := findings(r); !maps.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	text := ""
	for _, f := range r.Findings {
		if f.Severity != OK {
			text += f.What + "\n"
			if f.Consequence == "" || f.Fix == "" {
				t.Errorf("%s does not say what it leads to and how it is mended", f.Code)
			}
		}
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in %s", word, text)
		}
	}
}

// one is a single thing that is wrong.
func one(code string, severity Severity) map[string]Severity {
	return map[string]Severity{code: severity}
}

func TestHealthySetupHasNoFindings(t *testing.T) {
	r := Examine(t.Context(), healthy(t), Options{})
	wrong(t, r, nil)
	for _, code := range []string{"settings.valid", "system.files", "mysql.rights", "mysql.schema", "mysql.shop",
		"mysql.clock", "redis.rights", "redis.pubsub"} {
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == code && f.Severity == OK }) {
			t.Errorf("%s was not looked at", code)
		}
	}
	var text strings.Builder
	if err := r.Print(&text); err != nil ||
		!strings.HasSuffix(text.String(), fmt.Sprintf("\n0 errors, 0 warnings, %d in order\n", len(r.Findings))) {
		t.Errorf("%v: %s", err, text.String())
	}
}

func TestSettingsFindings(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*server.Settings, *Options)
		want   map[string]Severity
		says   string
	}{
		"none": {func(*server.Settings, *Options) {}, nil, ""},
		"a public URL with a path": {func(s *server.Settings, _ *Options) { s.PublicURL = "https://shop.example/shop" },
			one("settings.public_url", Error), "more than a scheme and a host"},
		"a public URL without a scheme": {
			func(s *server.Settings, _ *Options) { s.PublicURL = "shop.example" }, one("settings.public_url", Error),
			"not an http(s) URL"},
		"a public URL with a user": {
			func(s *server.Settings, _ *Options) { s.PublicURL = "https://me:hidden@shop.example" },
			one("settings.public_url", Error), "contains a user"},
		"http, and the origins are https": {func(s *server.Settings, _ *Options) {
			s.PublicURL, s.Origins = "http://shop.local", []string{"https://shop.local", "http://shop.local"}
		}, one("settings.https", Warning), "http"},
		"http, on the internet": {
			func(s *server.Settings, _ *Options) { s.PublicURL, s.Origins = "http://shop.example", nil },
			one("settings.https", Warning), "http"},
		"http, on this machine": {func(s *server.Settings, _ *Options) {
			s.PublicURL, s.Origins, s.TrustedProxies = "http://localhost:8080", nil, nil
		}, nil, ""},
		"no public URL": {func(s *server.Settings, _ *Options) { s.PublicURL, s.Origins = "", nil },
			one("settings.no_public_url", Warning), "not set"},
		"origins that miss the public URL": {
			func(s *server.Settings, _ *Options) { s.Origins = []string{"https://www.shop.example"} },
			one("settings.origins", Warning), "lacks the public URL"},
		"an origin with a path": {
			func(s *server.Settings, _ *Options) { s.Origins = append(s.Origins, "https://b.example/") },
			one("settings.origins", Error), "it should be https://b.example"},
		"an origin with the usual port": {
			func(s *server.Settings, _ *Options) { s.Origins = append(s.Origins, "https://b.example:443") },
			one("settings.origins", Error), "it should be https://b.example"},
		"an origin in capitals": {
			func(s *server.Settings, _ *Options) { s.Origins = append(s.Origins, "https://B.example") },
			one("settings.origins", Error), "it should be https://b.example"},
		"an origin without a scheme": {
			func(s *server.Settings, _ *Options) { s.Origins = append(s.Origins, "b.example") },
			one("settings.origins", Error), "invalid entry"},
		"any origin": {
			func(s *server.Settings, _ *Options) { s.Origins = []string{"*"} }, one("settings.origins_any", Warning), "*"},
		"no proxies": {
			func(s *server.Settings, _ *Options) { s.TrustedProxies = nil }, one("settings.proxies", Warning), "is empty"},
		"everybody is a proxy": {
			func(s *server.Settings, _ *Options) { s.TrustedProxies = []string{"0.0.0.0/0"} },
			one("settings.proxies_any", Warning), "every address"},
		"a proxy that is none": {
			func(s *server.Settings, _ *Options) { s.TrustedProxies = []string{"proxy"} }, one("settings.valid", Error),
			"neither an address nor a network"},
		"a short token": {
			func(s *server.Settings, _ *Options) { s.RootToken = "hidden" }, one("settings.valid", Error), "fewer than 16"},
		"a view that is none": {
			func(s *server.Settings, _ *Options) { s.Odoo.View = "none" }, one("settings.valid", Error), "there is no view"},
		"two things at once": {func(s *server.Settings, _ *Options) {
			s.RootToken, s.Locale, s.Odoo.View = "hidden", "xx-not-a-language-tag-at-all", "none"
		},
			one("settings.valid", Error), "fewer than 16"},
		"fewer files than sessions": {
			func(s *server.Settings, o *Options) { s.MaxSessions, o.Files = 15000, 1024 }, one("system.files", Error),
			"1024 files, and --max-sessions is 15000"},
		"hardly more files": {
			func(s *server.Settings, o *Options) { s.MaxSessions, o.Files = 15000, 15100 },
			one("system.files", Warning), "leaves 100"},
	} {
		t.Run(name, func(t *testing.T) {
			s, o := settled(), Options{}
			c.change(&s, &o)
			var r Report
			r.settings(s)
			r.system(s, o)
			wrong(t, r, c.want, c.says)
			if text, _ := json.Marshal(r); strings.Contains(string(text), "hidden") {
				t.Errorf("it shows a secret: %s", text)
			}
		})
	}
}

var update = flag.Bool("update", false, "write the table of docs/doctor.md")

// docs/doctor.md has the explanation of each code, and each code has a test.
func TestDoctorDocumentHasEveryCode(t *testing.T) {
	const name, head = "../../../docs/doctor.md", "|---|---|---|\n"
	paper, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, _, _ := strings.Cut(string(paper), head)
	want := before + head
	for _, code := range slices.Sorted(maps.Keys(explanations)) {
		want += fmt.Sprintf("| `%s` | %s | %s |\n", code, cell(explanations[code].consequence), cell(explanations[code].fix))
	}
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(paper) != want {
		t.Error("docs/doctor.md is stale: go test ./cmd/shelfcast/doctor -run TestDoctorDocument -update")
	}
	tests := ""
	files, _ := filepath.Glob("*_test.go")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests += string(text)
	}
	for code := range explanations {
		if !strings.Contains(tests, `"`+code+`", Error`) && !strings.Contains(tests, `"`+code+`", Warning`) &&
			!strings.Contains(tests, `"`+code+`": `) {
			t.Errorf("no test has found %s", code)
		}
	}
}

// cell is an explanation in a table: what is in < > or has a | would be
// markup.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(text)
}
