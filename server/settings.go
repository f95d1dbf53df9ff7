package server

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

// Database has the connections to MySQL or MariaDB.
type Database struct {
	MySQL   string        `name:"mysql" required:"" placeholder:"DSN" help:"MySQL or MariaDB, as user:password@tcp(host:3306)/database."`
	Timeout time.Duration `name:"mysql-timeout" default:"3s" help:"Timeout of a query."`
	MaxOpen int           `name:"mysql-max-connections" default:"16" help:"Maximum number of connections to each MySQL server."`
	Replica string        `name:"mysql-replica" placeholder:"DSN" help:"A read replica. Rows to render are read from it if it has the version wanted, otherwise from the primary."`
	CA      string        `name:"mysql-ca" type:"existingfile" placeholder:"FILE" help:"CA certificates (PEM). Connects to MySQL with TLS and accepts only server certificates issued by these. To use TLS with the system's CAs, put tls=true in the DSN."`
}

// Open opens the store. The database need not be reachable yet. videos: see
// store.CleanHTML.
func (d Database) Open(videos bool, metrics prometheus.Registerer, log *slog.Logger) (*store.DB, error) {
	roots, err := rootsOf(d.CA)
	if err != nil {
		return nil, fmt.Errorf("MySQL: %w", err)
	}
	return store.Open(d.MySQL, store.Config{Timeout: d.Timeout, MaxOpen: d.MaxOpen, Replica: d.Replica, Roots: roots,
		Videos: videos, Metrics: metrics, Log: log})
}

// Settings are the settings of an instance. Each is a flag and an environment variable
// of the same name: --admin-token is SHELFCAST_ADMIN_TOKEN.
type Settings struct {
	Database       `embed:""`
	Listen         string        `default:":8080" help:"Listen address of the public app."`
	AdminListen    string        `default:":8081" help:"Listen address of the admin app. It must not be reachable from the internet."`
	AdminHosts     []string      `placeholder:"HOST" help:"Host names, without port, under which staff and programs reach the admin app, for example shelfcast-admin.shop.svc. IP addresses, localhost, the host in --admin-listen and this machine's name are always accepted. * accepts any name, which lets other sites' pages in by DNS rebinding."`
	RootToken      string        `name:"admin-token" placeholder:"TOKEN" help:"A bearer token with every scope of the admin API, at least 16 characters. Without it, only tokens made with 'shelfcast token create' are accepted."`
	AdminCalls     int           `name:"admin-calls-per-minute" default:"1200" help:"Admin API calls per token per minute, over all instances. Further calls are refused (429). 0: no limit."`
	AdminTries     int           `name:"admin-invalid-tokens-per-minute" default:"30" help:"Invalid token attempts allowed per address per minute, over all instances. Further ones get 429, and so do valid tokens that the address had not used before. 0: no limit."`
	JWT            JWT           `embed:"" prefix:"jwt-"`
	Traces         Traces        `embed:""`
	Redis          string        `default:"redis://127.0.0.1:6379/0" placeholder:"URL" help:"Redis, as redis://user:password@host:6379/0, or rediss:// for TLS. Any number of shops may share one. Sentinel: redis://host:26379/0?master_name=NAME&addr=host2:26379. Cluster: redis+cluster://host:6379?addr=host2:6379."`
	RedisCA        string        `name:"redis-ca" type:"existingfile" placeholder:"FILE" help:"CA certificates (PEM) for TLS to Redis. By default the system's."`
	Odoo           Odoo          `embed:"" prefix:"odoo-"`
	Origins        []string      `placeholder:"ORIGIN" help:"Origins whose pages may open sessions, besides this host's own, for example https://shop.example. * allows all."`
	TrustedProxies []string      `placeholder:"NET" help:"Addresses or networks of load balancers whose X-Forwarded-For is trusted."`
	Templates      string        `type:"existingdir" placeholder:"DIR" help:"Folder with your own templates, views and messages. They replace built-in ones of the same name. Reloaded on SIGHUP."`
	Assets         string        `type:"existingdir" placeholder:"DIR" help:"Folder with your own assets. They replace built-in ones of the same name. Reloaded on SIGHUP."`
	PublicURL      string        `name:"public-url" placeholder:"URL" help:"Origin of the shop, for example https://shop.example, for absolute links in pages, structured data and the sitemap. Without it links have no host, and there is no sitemap."`
	ShopName       string        `default:"Shelfcast" help:"Name of the shop, shown on its pages."`
	Locales        []string      `placeholder:"LANG" help:"Languages of the shop, for example en,de or de-AT. Pages in the first are at the root, those in the others below /LANG/. Default: en."`
	Locale         string        `placeholder:"LANG" help:"The language of a shop with a single one. Use it instead of --locales."`
	Videos         bool          `name:"allow-videos" help:"Allow videos, and YouTube and Vimeo frames, in descriptions. Without it they are removed. Give 'shelfcast import' the same flag."`
	PageSize       int           `default:"24" help:"Products per page of the shop."`
	MaxLoads       int           `name:"max-concurrent-loads" default:"8" help:"Maximum number of concurrent queries that load products to render. Others wait for up to a second and are then refused (503)."`
	Memory         int64         `name:"fragment-memory" default:"64" help:"Memory for cached fragments, in MiB."`
	MaxSessions    int           `default:"15000" help:"Maximum number of sessions of this instance. Each takes a file descriptor."`
	JoinRate       int           `name:"new-sessions-per-second" default:"1000" help:"New sessions per second. Further handshakes are refused (503) and retried by the client."`
	MaxPerAddress  int           `name:"max-sessions-per-address" default:"1000" help:"Maximum number of sessions per IP address or IPv6 /64. Further handshakes are refused (429). Behind a proxy that is not in --trusted-proxies, all sessions have the proxy's address. 0: no limit."`
	AddressRate    int           `name:"new-sessions-per-second-per-address" default:"100" help:"New sessions, and polls, per second per IP address or IPv6 /64. Further ones are refused (429). 0, or --max-sessions-per-address=0: no limit."`
	Searches       int           `name:"searches-per-minute" default:"120" help:"Shop lists and searches that are not in memory, per minute per IP address or IPv6 /64, over all instances. Each counts once more for every 10 ms of database time, up to a tenth of the limit. Further ones are refused (429). Behind a proxy that is not in --trusted-proxies, all have the proxy's address. 0: no limit."`
	MaxAge         time.Duration `name:"max-session-age" default:"0s" help:"Maximum session age, shortened randomly by up to 25%, so that sessions spread over all instances after a scale-up. 0: no limit."`
	Ping           time.Duration `name:"ping-interval" default:"25s" help:"Idle time before the server pings a browser. Load balancers must not close a connection that has been idle for less than this plus 20s."`
	MaxProducts    int           `name:"max-products-per-session" default:"500" help:"Maximum number of products that a session watches."`
	Drain          time.Duration `name:"drain-time" default:"20s" help:"Time from SIGTERM to exit: a quarter for the load balancer to notice, half to close the sessions one by one, the rest for requests in flight."`
}

// Odoo configures how Odoo 16 storefronts are notified.
type Odoo struct {
	Channel         string        `default:"product_updates" help:"Channel of Odoo's bus on which its pages are notified of changes."`
	RedeliveryDelay time.Duration `default:"3s" help:"Delay after which Odoo pages are notified of a change a second time, because the request they made after the first may have failed or reached an instance that had not heard of the change. Negative: never."`
	View            string        `default:"card" help:"View sent to Odoo pages that ask for a product: card; odoo, the markup that their script knows; or one of your own."`
}

// JWT configures the identity provider whose tokens the admin API accepts, in addition
// to those created by Shelfcast.
type JWT struct {
	JWKS       string `name:"jwks" placeholder:"URL" help:"JWKS of an identity provider (OIDC) whose JWTs are accepted as bearer tokens of the admin API."`
	Issuer     string `placeholder:"URL" help:"Required iss of those tokens."`
	Audience   string `placeholder:"NAME" help:"Required aud of those tokens."`
	ScopeClaim string `placeholder:"CLAIM" help:"Claim with the scopes: ${scopes}. Default: scope, or scp if there is no scope."`
	NameClaim  string `placeholder:"CLAIM" help:"Claim with the author's name for the history, for example preferred_username. Default: email if email_verified is true, otherwise sub."`
	Typ        string `placeholder:"TYPE" help:"Required typ in the header of those tokens: at+jwt if the provider marks its access tokens so (RFC 9068). Default: at+jwt, JWT or none, but not a token that is marked as an ID token."`
}

// minToken is the shortest root token: random, it cannot be guessed.
const minToken = 16

func (s Settings) check() error {
	switch {
	case s.RootToken != "" && len(s.RootToken) < minToken:
		return fmt.Errorf("--admin-token (SHELFCAST_ADMIN_TOKEN) has fewer than %d characters", minToken)
	case slices.ContainsFunc(s.AdminHosts, func(host string) bool { return strings.ContainsAny(host, "/:@ ") }):
		return errors.New("--admin-hosts (SHELFCAST_ADMIN_HOSTS) must be host names, without scheme and port")
	case s.Ping != 0 && s.Ping < time.Second:
		return errors.New("--ping-interval must be at least 1s: sessions are checked once a second")
	case s.Locale != "" && len(s.Locales) > 0:
		return errors.New("--locale and --locales cannot be combined")
	case s.Traces.check() != nil:
		return s.Traces.check()
	case s.JWT.JWKS == "" && (s.JWT.Issuer != "" || s.JWT.Audience != ""):
		return errors.New("--jwt-issuer and --jwt-audience need --jwt-jwks")
	}
	return nil
}

// adminHosts returns the host names that the admin app accepts.
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
	templates, err := render.Load(render.Config{Files: before(s.Templates, web.Templates), Locales: locales,
		ShopName: s.ShopName, Videos: s.Videos})
	return templates, s.ofFolder(err)
}

// before returns builtIn, with the folder dir in front unless it is "".
func before(dir string, builtIn ...fs.FS) []fs.FS {
	if dir == "" {
		return builtIn
	}
	return append([]fs.FS{os.DirFS(dir)}, builtIn...)
}

// ofFolder adds the name of the templates' folder to an error.
func (s Settings) ofFolder(err error) error {
	if err == nil || s.Templates == "" {
		return err
	}
	return fmt.Errorf("--templates %s: %w", s.Templates, err)
}
