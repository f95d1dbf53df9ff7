package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"shelfcast/server"
	"shelfcast/store"
)

// mysql checks the primary and the replica. It returns the id of the shop, or "" if it
// cannot be read.
func (r *Report) mysql(ctx context.Context, s server.Settings, o Options) (shop string) {
	d := s.Database
	d.Timeout = cmp.Or(d.Timeout, 3*time.Second)
	d.MaxOpen = cmp.Or(d.MaxOpen, 16)
	ctx, cancel := context.WithTimeout(ctx, 2*o.Limit)
	defer cancel()
	asked := d
	asked.MaxOpen = 1                                                // a full server may have one connection left
	db, err := asked.Open(false, nil, slog.New(slog.DiscardHandler)) // errors become findings
	if err != nil {
		r.add(Error, "mysql.dsn", "%v", err)
		return ""
	}
	defer db.Close()
	release, err := db.NewestMigration()
	if err != nil {
		r.add(Error, "settings.valid", "%v", err)
		return ""
	}
	primary, err := db.Diagnose(ctx)
	if err != nil {
		r.unreachable(err)
		return ""
	}
	r.primary(primary, facts{release: release, pool: d.MaxOpen, instances: o.Instances})
	shop = r.shop(ctx, db, primary.Migration >= release)
	replica, named, err := db.DiagnoseReplica(ctx)
	switch {
	case !named:
	case err != nil:
		r.add(Error, "replica.reach", "the replica: %v", err)
	default:
		r.replica(primary, replica, time.Now())
	}
	return shop
}

// shop reports and returns the id of the shop, which programs that publish to Redis need.
// A missing schema or privilege is another finding.
func (r *Report) shop(ctx context.Context, db *store.DB, migrated bool) string {
	id, err := db.ShopID(ctx)
	switch {
	case err == nil:
		keys, _ := store.NamedShop(id).Keys()
		r.ok("mysql.shop", "the id of the shop is %s, its channel in Redis is %s", id, keys.Channel())
	case migrated && errors.Is(err, store.ErrSchema):
		r.add(Error, "mysql.shop", "the shop has no id: the table shop is empty")
	}
	return id
}

// unreachable reports why no connection to the primary was made, or why it was lost.
func (r *Report) unreachable(err error) {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1045, 1698, 1251, 1862: // password, plugin, protocol, expired
			r.add(Error, "mysql.login", "the server rejects the login: %s", e.Message)
		case 1044:
			r.add(Error, "mysql.login", "the user has no privilege on the database: %s", e.Message)
		case 1049:
			r.add(Error, "mysql.database", "there is no such database: %s", e.Message)
		case 1040, 1203, 1226:
			r.add(Error, "mysql.connections", "the server has too many connections and refused this one: %s", e.Message)
		case 3159:
			r.add(Error, "mysql.tls", "the server requires TLS: %s", e.Message)
		default:
			r.add(Error, "mysql.reach", "the server returned an error: %v", e)
		}
		return
	}
	if isTLS(err) || errors.Is(err, mysql.ErrNoTLS) {
		r.add(Error, "mysql.tls", "TLS: %v", err)
		return
	}
	r.add(Error, "mysql.reach", "the server does not answer: %v", err)
}

// isTLS reports whether the cause of an error is the certificate or TLS.
func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	return verification || record || authority || name || strings.Contains(err.Error(), "tls: ")
}

// facts are what the primary is compared with.
type facts struct {
	release   int64
	pool      int
	instances int
}

// primary checks the diagnostics of the primary.
func (r *Report) primary(s store.Diagnostics, f facts) {
	r.ok("mysql.reach", "the server answers")
	r.version(s)
	r.check(on(s, "read_only") || on(s, "super_read_only") || on(s, "innodb_read_only"), Error, "mysql.primary",
		"the server is read-only: it is a replica, or has become one", "the server is writable")
	switch {
	case s.Migration == 0:
		r.add(Error, "mysql.schema", "the database does not have the schema of Shelfcast")
	case s.Migration < f.release:
		r.add(Error, "mysql.schema", "the schema is at %d, and this release needs %d", s.Migration, f.release)
	case s.Migration > f.release:
		r.add(Warning, "mysql.schema_newer", "the schema is at %d, and this release knows %d", s.Migration, f.release)
	default:
		r.ok("mysql.schema", "at %d, which this release needs", s.Migration)
	}
	r.check(len(s.MissingRights) > 0, Error, "mysql.rights", "the user lacks "+strings.Join(s.MissingRights, ", "),
		"the user has the privileges that an instance needs")
	r.check(!s.HasProcess, Warning, "mysql.process", "the user cannot see transactions of others: it lacks PROCESS",
		"the user can see open transactions")
	r.galera(s)
	g := readGrants(s.Grants)
	r.migrating(s, f, g)
	r.triggers(s, g)
	r.check(len(s.LostSettings) > 0, Error, "mysql.session",
		"connections lose session settings: "+strings.Join(s.LostSettings, ", "), "connections keep their session settings")
	r.connections(s, f)
	r.packet(s)
	idle := number(s, "wait_timeout")
	r.check(idle > 0 && idle < 90, Warning, "mysql.idle",
		fmt.Sprintf("wait_timeout is %d s, but an instance keeps idle connections for 60 s", idle),
		fmt.Sprintf("wait_timeout is %d s", idle))
	r.clock("mysql.clock", "this machine's", s.ClockOffset, s.ClockError, 250*time.Millisecond)
}

// galera checks the settings of a node of Galera.
func (r *Report) galera(s store.Diagnostics) {
	if !on(s, "wsrep_on") {
		return
	}
	r.check(number(s, "wsrep_sync_wait")&1 == 0, Warning, "mysql.galera",
		"the server is a node of Galera, and its reads do not wait for commits of other nodes",
		"a node of Galera, and its reads wait for commits of other nodes; a transaction of more than ten seconds on "+
			"another node reaches the pages later: see shelfcast_feed_staleness_bound_seconds")
}

// version checks that the server is a supported one.
func (r *Report) version(s store.Diagnostics) {
	comment := s.Variables["version_comment"]
	var major, minor int
	_, err := fmt.Sscanf(s.Version, "%d.%d", &major, &minor)
	maria := strings.Contains(strings.ToLower(s.Version+comment), "mariadb")
	name, least := "MySQL", [2]int{8, 0}
	if maria {
		name, least = "MariaDB", [2]int{10, 6}
	}
	switch {
	case err != nil, strings.Contains(s.Version, "TiDB"), strings.Contains(s.Version, "Vitess"),
		strings.Contains(strings.ToLower(comment), "dolt"):
		r.add(Warning, "mysql.version", "%s was not tested with Shelfcast", s.Version)
	case major < least[0] || major == least[0] && minor < least[1]:
		r.add(Error, "mysql.version", "%s %s is older than %d.%d", name, s.Version, least[0], least[1])
	default:
		r.ok("mysql.version", "%s %s", name, s.Version)
	}
}

// migrating checks whether this user could migrate the schema.
func (r *Report) migrating(s store.Diagnostics, f facts, g grants) {
	var lacks []string
	for _, right := range []string{"CREATE", "ALTER", "INDEX"} {
		if !g.has(right) {
			lacks = append(lacks, right)
		}
	}
	switch {
	case len(lacks) == 0:
		r.ok("mysql.migrate", "the user can migrate")
	case g.roles:
		r.ok("mysql.migrate", "the user has roles, whose rights are not listed")
	case s.Migration < f.release:
		r.add(Error, "mysql.migrate", "the schema must be migrated, but the user lacks %s", strings.Join(lacks, ", "))
	default:
		r.ok("mysql.migrate", "the user cannot migrate (it lacks %s), which is not necessary now", strings.Join(lacks, ", "))
	}
}

// packet checks that the largest statements fit: a description has up to 200,000
// characters, and the history of a batch is written in statements of up to 4 MiB.
func (r *Report) packet(s store.Diagnostics) {
	const code = "mysql.packet"
	switch limit := number(s, "max_allowed_packet"); {
	case limit < 8<<20:
		r.add(Error, code, "max_allowed_packet is %d bytes", limit)
	case limit < 16<<20:
		r.add(Warning, code, "max_allowed_packet is %d bytes", limit)
	default:
		r.ok(code, "max_allowed_packet is %d MiB", limit>>20)
	}
}

// connections compares the connections that the instances may open with the server's
// limit. During a deploy one more instance runs.
func (r *Report) connections(s store.Diagnostics, f facts) {
	const code = "mysql.connections"
	limit, whose := number(s, "max_connections"), "max_connections"
	if user := number(s, "max_user_connections"); user > 0 && user < limit {
		limit, whose = user, "max_user_connections"
	}
	wanted := (f.instances + 1) * f.pool
	switch {
	case limit <= f.pool:
		r.add(Error, code, "%s is %d, but one instance may open %d", whose, limit, f.pool)
	case limit < wanted:
		r.add(Warning, code, "%s is %d, but %d instances, with one more for a deploy, may open %d",
			whose, limit, f.instances, wanted)
	default:
		r.ok(code, "%s is %d; %d instances, with one more for a deploy, may open %d", whose, limit, f.instances, wanted)
	}
}

// clock checks a difference that is known up to some uncertainty.
func (r *Report) clock(code, whose string, ahead, uncertain, most time.Duration) {
	far := ahead.Abs() - uncertain
	said := fmt.Sprintf("%v ahead of %s", ahead.Round(time.Millisecond), whose)
	if ahead < 0 {
		said = fmt.Sprintf("%v behind %s", ahead.Abs().Round(time.Millisecond), whose)
	}
	r.check(far > most, Warning, code, "the server's clock is "+said,
		"the server's clock agrees with others (up to "+uncertain.Round(time.Microsecond).String()+")")
}

// replica compares the replica with the primary.
func (r *Report) replica(primary, s store.Diagnostics, now time.Time) {
	r.ok("replica.reach", "the replica answers: %s", s.Version)
	r.check(s.Migration != primary.Migration, Warning, "replica.schema",
		fmt.Sprintf("the replica's schema is at %d, and the primary's at %d", s.Migration, primary.Migration),
		"its schema is that of the primary")
	denied := false
	for _, right := range s.MissingRights {
		denied = denied || right == "SELECT on products"
	}
	r.check(denied, Error, "replica.rights", "the user lacks SELECT on products", "the user has SELECT on products")
	// The primary was asked first, so a version that the replica lacks is at least as
	// old as its lag.
	lag := now.Add(primary.ClockOffset).Sub(time.UnixMicro(primary.LatestVersion))
	r.check(s.LatestVersion < primary.LatestVersion && lag > 5*time.Second, Warning, "replica.lag",
		fmt.Sprintf("the replica lacks an edit of %v ago", lag.Round(time.Second)),
		"it has the newest edit, or lacks it only briefly")
	r.clock("replica.clock", "the primary's", s.ClockOffset-primary.ClockOffset,
		s.ClockError+primary.ClockError, time.Second)
}

func on(s store.Diagnostics, variable string) bool {
	v := s.Variables[variable]
	return v == "ON" || v == "1"
}

func number(s store.Diagnostics, variable string) int {
	n, _ := strconv.Atoi(s.Variables[variable])
	return n
}
