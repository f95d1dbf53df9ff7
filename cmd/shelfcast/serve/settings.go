package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"shelfcast/render"
	"shelfcast/store"
	"shelfcast/web"
)

// Database says where the products are.
type Database struct {
	MySQL   string        `name:"mysql" required:"" placeholder:"DSN" help:"MySQL or MariaDB, as user:password@tcp(host:3306)/database."`
	Timeout time.Duration `name:"mysql-timeout" default:"3s" help:"Of each query."`
	MaxOpen int           `name:"mysql-connections" default:"16" help:"At most so many connections, to each server."`
	Replica string        `name:"mysql-replica" placeholder:"DSN" help:"A read replica: rows to render are read there, if it has the version wanted."`
	CA      string        `name:"mysql-ca" type:"existingfile" placeholder:"FILE" help:"Speak TLS, to servers whose certificate is from these (PEM). Without it the DSN says: tls=true."`
}

// Open makes a store for it, which need not be reachable yet.
// videos: see store.CleanHTML.
func (d Database) Open(videos bool, metrics prometheus.Registerer) (*store.DB, error) {
	roots, err := rootsOf(d.CA)
	if err != nil {
		return nil, fmt.Errorf("MySQL: %w", err)
	}
	return store.Open(d.MySQL, store.Config{Timeout: d.Timeout, MaxOpen: d.MaxOpen, Replica: d.Replica, Roots: roots, Videos: videos, Metrics: metrics})
}

// Settings of an instance. Each is a flag, and an environment variable of the
// same name: --admin-token is SHELFCAST_ADMIN_TOKEN.
type Settings struct {
	Database       `embed:""`
	Listen         string        `default:":8080" help:"Address of the public app."`
	AdminListen    string        `default:":8081" help:"Address of the admin app, which is never to be reachable from the internet."`
	AdminHosts     []string      `placeholder:"HOST" help:"Host names under which staff and programs reach the admin app, without port, as shelfcast-admin.shop.svc. Any address, localhost, the name in --admin-listen and the machine's own are fine without. * for all, which lets pages of other sites in by DNS rebinding."`
	AdminToken     string        `placeholder:"TOKEN" help:"A bearer token that may do everything in the admin API, at least 16 characters. Without it there are the tokens of 'shelfcast token create' only."`
	AdminCalls     int           `name:"admin-calls-per-minute" default:"1200" help:"Calls of the admin API that a token may make in a minute, over all instances; the others are refused (429). 0: no limit."`
	AdminTries     int           `name:"admin-tries-per-minute" default:"30" help:"Invalid tokens that an address may try in a minute, over all instances; then it gets 429, for valid ones too that were not used from there before. 0: no limit."`
	JWT            JWT           `embed:"" prefix:"jwt-"`
	Traces         Traces        `embed:""`
	Redis          string        `default:"redis://127.0.0.1:6379/0" placeholder:"URL" help:"Redis, as redis://user:password@host:6379/0, or rediss:// for TLS. Any number of shops may share one. Sentinel: redis://host:26379/0?master_name=NAME&addr=host2:26379; Cluster: redis+cluster://host:6379?addr=host2:6379."`
	RedisCA        string        `name:"redis-ca" type:"existingfile" placeholder:"FILE" help:"Certificates (PEM) of those whom Redis's TLS certificate is to be from; by default the system's."`
	Odoo           Odoo          `embed:"" prefix:"odoo-"`
	Origins        []string      `placeholder:"ORIGIN" help:"Origins whose pages may open sessions, besides this host's own, as https://shop.example; * for all."`
	TrustedProxies []string      `placeholder:"NET" help:"Addresses or networks of load balancers, whose X-Forwarded-For is believed."`
	Templates      string        `type:"existingdir" help:"Folder with templates that stand before the built-in ones of the same name, views of its own and messages. Read again on SIGHUP."`
	Assets         string        `type:"existingdir" help:"Folder with assets that stand before the built-in ones of the same name. Read again on SIGHUP."`
	PublicURL      string        `name:"public-url" placeholder:"URL" help:"Origin of the shop, as https://shop.example: what the pages, their structured data and the sitemap name. Without it they name no host, and there is no sitemap."`
	ShopName       string        `default:"Shelfcast" help:"As the pages show it."`
	Locales        []string      `placeholder:"LANG" help:"Languages of the shop, as en,de or de-AT; its first in front, the others' pages are below /LANG/. Without it there is en."`
	Locale         string        `placeholder:"LANG" help:"The same for a shop with one language."`
	Videos         bool          `help:"Descriptions may have videos, and frames of YouTube and Vimeo. Without it they are taken out; the same goes for 'shelfcast import'."`
	PageSize       int           `default:"24" help:"Products of a page of the shop."`
	Fills          int           `default:"8" help:"Fragments for which the database is read at a time. The others wait for a second and are refused then (503)."`
	Memory         int64         `default:"64" help:"MiB of memory for fragments."`
	MaxSessions    int           `default:"15000" help:"At most so many sessions; mind the limit of open files."`
	JoinRate       int           `default:"1000" help:"At most so many new sessions a second; the others are to come back (503)."`
	MaxPerAddress  int           `name:"max-sessions-per-address" default:"1000" help:"At most so many sessions of an address, or of an IPv6 /64; the others are refused (429). Behind a proxy that is not in --trusted-proxies all are of its address. 0: no limit."`
	AddressRate    int           `name:"join-rate-per-address" default:"100" help:"At most so many new sessions a second of an address, or of an IPv6 /64, and as many polls; the others are refused (429). 0, or --max-sessions-per-address 0: no limit."`
	Searches       int           `name:"searches-per-minute" default:"120" help:"Lists and searches of the shop that are not in memory, and that an address, or an IPv6 /64, may ask for in a minute, over all instances; the others are refused (429). Behind a proxy that is not in --trusted-proxies all are of its address. 0: no limit."`
	MaxAge         time.Duration `name:"max-session-age" default:"0s" help:"Close sessions of this age, less up to a quarter, so that after a scale-up they come to rest on all instances. 0: never."`
	Ping           time.Duration `default:"25s" help:"Silence after which a browser is asked whether it is there. Load balancers are to cut no connection that is silent for less than this and 20 s more."`
	MaxProducts    int           `default:"500" help:"Products that a session watches, at most."`
	Drain          time.Duration `default:"20s" help:"From SIGTERM to the end: a quarter for the load balancer to notice, half to close the sessions."`
}

// Odoo says what an Odoo 16 storefront is told.
type Odoo struct {
	Channel string        `default:"product_updates" help:"Channel of Odoo's bus on which its pages are told of changes."`
	Again   time.Duration `default:"3s" help:"After which its pages are told of a change once more: the answer to the first time may have failed, or have come from an instance that had not heard. Negative: never."`
	View    string        `default:"card" help:"View that its pages are sent when they ask: card, odoo for the markup that their script knows, or one of your own."`
}

// JWT says which identity provider's tokens the admin API takes, besides its own.
type JWT struct {
	JWKS       string `name:"jwks" placeholder:"URL" help:"Where an identity provider (OIDC) has its keys: its JWTs are taken as bearer tokens of the admin API."`
	Issuer     string `placeholder:"URL" help:"That those tokens name as iss."`
	Audience   string `placeholder:"NAME" help:"That those tokens have among aud."`
	ScopeClaim string `placeholder:"CLAIM" help:"Where those tokens say what they may do: products:read, products:write, tokens:admin. By default scope, or scp where there is no scope."`
	NameClaim  string `placeholder:"CLAIM" help:"What the history calls the owner of such a token, as preferred_username. By default email, if email_verified is true, or else sub."`
	Typ        string `placeholder:"TYPE" help:"That the header of those tokens has as typ: at+jwt, if the provider says so in its access tokens (RFC 9068). By default also JWT or none is taken, unless the token is marked as an ID token."`
}

// minToken is the shortest token that cannot be guessed, if it is random.
const minToken = 16

func (s Settings) check() error {
	switch {
	case s.AdminToken != "" && len(s.AdminToken) < minToken:
		return fmt.Errorf("--admin-token (SHELFCAST_ADMIN_TOKEN) has fewer than %d characters", minToken)
	case slices.ContainsFunc(s.AdminHosts, func(host string) bool { return strings.ContainsAny(host, "/:@ ") }):
		return errors.New("--admin-hosts (SHELFCAST_ADMIN_HOSTS) is to be of host names, without scheme and port")
	case s.Ping != 0 && s.Ping < time.Second:
		return errors.New("--ping is to be a second or more: sessions are looked after once a second")
	case s.Locale != "" && len(s.Locales) > 0:
		return errors.New("--locale is --locales for one language: name one of the two")
	case s.Traces.check() != nil:
		return s.Traces.check()
	case s.JWT.JWKS == "" && (s.JWT.Issuer != "" || s.JWT.Audience != ""):
		return errors.New("--jwt-issuer and --jwt-audience are of no use without --jwt-jwks")
	}
	return nil
}

// adminHosts are the names that the admin app answers to.
func (s Settings) adminHosts() []string {
	hosts := slices.Clone(s.AdminHosts)
	if host, _, err := net.SplitHostPort(s.AdminListen); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	if host, err := os.Hostname(); err == nil {
		hosts = append(hosts, host)
	}
	return hosts
}

func (s Settings) templates() (*render.Templates, error) {
	locales := s.Locales
	if s.Locale != "" {
		locales = []string{s.Locale}
	}
	templates, err := render.Load(render.Config{Files: before(s.Templates, web.Templates), Locales: locales, ShopName: s.ShopName, Videos: s.Videos})
	return templates, s.ofFolder(err)
}

// before is the owner's folder, if there is one, and then ours.
func before(dir string, ours fs.FS) []fs.FS {
	if dir == "" {
		return []fs.FS{ours}
	}
	return []fs.FS{os.DirFS(dir), ours}
}

// ofFolder is what is wrong with templates, with the folder that has them.
func (s Settings) ofFolder(err error) error {
	if err == nil || s.Templates == "" {
		return err
	}
	return fmt.Errorf("--templates %s: %w", s.Templates, err)
}
