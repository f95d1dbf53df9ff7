package main

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// configured returns the output of `shelfcast config`.
func configured(t *testing.T, args ...string) string {
	t.Helper()
	var p program
	var out bytes.Buffer
	parser, err := kong.New(&p, append(slices.Clone(usage), kong.Writers(&out, &out))...)
	if err != nil {
		t.Fatal(err)
	}
	k, err := parser.Parse(append([]string{"config"}, args...))
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if err := k.Run(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

func TestConfigShowsOriginOfSettings(t *testing.T) {
	for _, e := range os.Environ() { // variables of the test run are not settings
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "SHELFCAST_") {
			t.Setenv(name, value) // restores it after the test
			os.Unsetenv(name)
		}
	}
	t.Setenv("SHELFCAST_MYSQL", "shop:secret@tcp(db:3306)/shop?tls=true")
	t.Setenv("SHELFCAST_PAGE_SIZE", "48")
	t.Setenv("SHELFCAST_DRAIN_TIME", "9s")
	t.Setenv("SHELFCAST_MAX_SESSION", "a value that is not to be printed")
	args := []string{"--drain-time=7s", "--origins=https://a.example,https://b.example", "--log-level=debug"}
	text := configured(t, args...)
	var report configReport
	if err := json.Unmarshal([]byte(configured(t, append(args, "--json")...)), &report); err != nil {
		t.Fatal(err)
	}
	for _, want := range []setting{
		{"log-level", "SHELFCAST_LOG_LEVEL", "debug", "flag"},
		{"mysql", "SHELFCAST_MYSQL", "shop:***@tcp(db:3306)/shop?tls=true", "environment"},
		{"page-size", "SHELFCAST_PAGE_SIZE", "48", "environment"},
		{"drain-time", "SHELFCAST_DRAIN_TIME", "7s", "flag"}, // overrides the environment
		{"origins", "SHELFCAST_ORIGINS", "https://a.example,https://b.example", "flag"},
		{"max-sessions", "SHELFCAST_MAX_SESSIONS", "15000", "default"},
		{"max-session-age", "SHELFCAST_MAX_SESSION_AGE", "0s", "default"},
		{"jwt-jwks", "SHELFCAST_JWT_JWKS", "", "default"},
	} {
		if !slices.Contains(report.Settings, want) {
			t.Errorf("no %v in %v", want, report.Settings)
		}
		line := slices.IndexFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.Join(strings.Fields(line), " ") == strings.TrimSpace("--"+want.Name+" "+want.Source+" "+want.Value)
		})
		if line < 0 {
			t.Errorf("no line of %v in\n%s", want, text)
		}
	}
	if !slices.Equal(report.Unknown, []string{"SHELFCAST_MAX_SESSION"}) ||
		!strings.Contains(text, "SHELFCAST_MAX_SESSION is set, but is not a setting") || strings.Contains(text, "a value") {
		t.Errorf("unknown %v, and\n%s", report.Unknown, text)
	}
	if count := len(report.Settings); count < reflect.TypeFor[configCommand]().Field(0).Type.NumField() {
		t.Errorf("only %d settings", count)
	}
}

// harmless are text settings that never contain a secret. A new setting is hidden (by
// its name or placeholder), or listed here.
var harmless = []string{
	"log-format", "listen", "admin-listen", "admin-hosts", "jwt-audience", "jwt-scope-claim", "jwt-name-claim", "jwt-typ",
	"odoo-channel", "odoo-view", "origins",
	"trusted-proxies", "shop-name", "locales", "locale",
}

// spellings are the forms in which a setting can contain a secret.
var spellings = []string{
	"SECRET", "user:SECRET@tcp(db:3306)/shop?tls=true", "user:p/a?s@s:SECRET@tcp(db:3306)/shop",
	"user:SECRET@unix(/run/my.sock)/shop",
	"user:SECRET@tcp(db:3306", "user@tcp(db:3306)/shop?connectionAttributes=key:SECRET", "user@tcp(db:3306)/shop?SECRET",
	"redis://user:SECRET@cache:6379/0", "redis://:SECRET@cache:6379/0", "redis://SECRET@cache:6379/0",
	"rediss+cluster://:SECRET@cache:6379?addr=cache2:6379",
	"redis://cache:6379/0?password=SECRET", "redis://cache:6379/0?master_name=shop&addr=:SECRET@cache2:6379",
	"redis://cache:6379/0?addr=u%3ASECRET%40cache2",
	"redis://:p%zzSECRET@cache:6379", "https://user:SECRET@idp.example/keys", "https://SECRET@idp.example/keys",
	"https://idp.example/keys?token=SECRET",
	"https://idp.example/keys?a=b&SECRET", "https://idp.example/keys?a;SECRET=b",
	"https://idp.example/keys#SECRET", "https:SECRET",
}

// Secrets are never printed, in whatever setting and form.
func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	const secret = "Zr8kQ1vN" // occurs nowhere else
	var p program
	parser, err := kong.New(&p, usage...)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(parser.Model.Children, func(n *kong.Node) bool { return n.Name == "config" })
	tried := 0
	for _, group := range parser.Model.Children[at].AllFlags(true) {
		for _, f := range group {
			kind := f.Target.Type()
			text := kind.Kind() == reflect.String || kind == reflect.TypeFor[[]string]()
			if !text || strings.HasPrefix(f.Tag.Type, "existing") || f.Enum != "" {
				continue // a file's name, a number, or one of few words
			}
			for _, spelling := range spellings {
				if slices.Contains(harmless, f.Name) && !strings.ContainsAny(spelling, "@/") {
					continue
				}
				args := []string{"--" + f.Name + "=" + strings.ReplaceAll(spelling, "SECRET", secret)}
				if f.Name != "mysql" {
					args = append(args, "--mysql=root@tcp(db:3306)/shop")
				}
				for _, format := range [][]string{nil, {"--json"}} {
					if out := configured(t, append(args, format...)...); strings.Contains(out, secret) {
						t.Errorf("--%s shows the secret of %s", f.Name, spelling)
					}
				}
				tried++
			}
		}
	}
	if tried < 15*len(spellings) {
		t.Errorf("only %d were tried", tried)
	}
}
