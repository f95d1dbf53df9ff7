package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"shelfcast/cmd/shelfcast/serve"
	"shelfcast/store"
)

// mysql returns the id of the shop; "" if it cannot be read.
func (r *Report) mysql(ctx context.Context, s serve.Settings, o Options) (shop string) {
	d := s.Database
	d.Timeout = cmp.Or(d.Timeout, 3*time.Second)
	d.MaxOpen = cmp.Or(d.MaxOpen, 16)
	ctx, cancel := context.WithTimeout(ctx, 2*o.Limit)
	defer cancel()
	asked := d
	asked.MaxOpen = 1 // a server that is full may have one left
	db, err := asked.Open(false, nil)
	if err != nil {
		r.bad(Error, "mysql.dsn", "%v", err)
		return ""
	}
	defer db.Close()
	release, err := db.Release()
	if err != nil {
		r.bad(Error, "settings.valid", "%v", err)
		return ""
	}
	primary, err := db.Survey(ctx)
	if err != nil {
		r.unreachable(err)
		return ""
	}
	r.primary(primary, facts{release: release, pool: d.MaxOpen, instances: o.Instances})
	shop = r.shop(ctx, db, primary.Schema >= release)
	replica, named, err := db.SurveyReplica(ctx)
	switch {
	case !named:
	case err != nil:
		r.bad(Error, "replica.reach", "the replica: %v", err)
	default:
		r.replica(primary, replica, time.Now())
	}
	return shop
}

// shop returns the id of the shop, which other programs need that publish to
// Redis. Without the schema or the right to read it there is a finding already.
func (r *Report) shop(ctx context.Context, db *store.DB, migrated bool) string {
	id, err := db.ShopID(ctx)
	switch {
	case err == nil:
		keys, _ := store.NamedShop(id).Keys()
		r.ok("mysql.shop", "the shop's id is %s, and its channel in Redis %s", id, keys.Channel())
	case migrated && errors.Is(err, store.ErrSchema):
		r.bad(Error, "mysql.shop", "the shop has no id: the table shop has no row")
	}
	return id
}

// unreachable says why no connection to the primary was made, or was lost.
func (r *Report) unreachable(err error) {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1045, 1698, 1251, 1862: // password, plugin, protocol, expired
			r.bad(Error, "mysql.login", "the server does not let the user in: %s", e.Message)
		case 1044:
			r.bad(Error, "mysql.login", "the user has no right on the database: %s", e.Message)
		case 1049:
			r.bad(Error, "mysql.database", "there is no such database: %s", e.Message)
		case 1040, 1203, 1226:
			r.bad(Error, "mysql.connections", "the server is full, and refused this very connection: %s", e.Message)
		case 3159:
			r.bad(Error, "mysql.tls", "the server wants TLS: %s", e.Message)
		default:
			r.bad(Error, "mysql.reach", "the server refused what it was asked: %v", e)
		}
		return
	}
	if isTLS(err) || errors.Is(err, mysql.ErrNoTLS) {
		r.bad(Error, "mysql.tls", "TLS: %v", err)
		return
	}
	r.bad(Error, "mysql.reach", "the server does not answer: %v", err)
}

// isTLS: the certificate or the protocol is at fault.
func isTLS(err error) bool {
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	return verification || record || authority || name || strings.Contains(err.Error(), "tls: ")
}

// facts are what the primary is held against.
type facts struct {
	release   int64
	pool      int
	instances int
}

// primary judges what the primary says. It asks nothing itself.
func (r *Report) primary(s store.Survey, f facts) {
	r.ok("mysql.reach", "the server answers")
	r.version(s)
	r.check(on(s, "read_only") || on(s, "super_read_only"), Error, "mysql.primary", "the server only reads: it is a replica, or was made one", "the server takes writes")
	switch {
	case s.Schema == 0:
		r.bad(Error, "mysql.schema", "the database has no schema of Shelfcast")
	case s.Schema < f.release:
		r.bad(Error, "mysql.schema", "the schema is at %d, and this release needs %d", s.Schema, f.release)
	case s.Schema > f.release:
		r.bad(Warning, "mysql.schema_newer", "the schema is at %d, and this release knows %d", s.Schema, f.release)
	default:
		r.ok("mysql.schema", "at %d, as this release needs", s.Schema)
	}
	r.check(len(s.Denied) > 0, Error, "mysql.rights", "the user lacks "+strings.Join(s.Denied, ", "), "the user may do what an instance does")
	g := readGrants(s.Grants)
	r.migrating(s, f, g)
	r.triggers(s, g)
	r.isolation(s)
	r.connections(s, f)
	r.check(!strings.Contains(s.Variables["sql_mode"], "STRICT_"), Warning, "mysql.strict", "sql_mode is not strict", "sql_mode is strict")
	idle := number(s, "wait_timeout")
	r.check(idle > 0 && idle < 90, Warning, "mysql.idle", fmt.Sprintf("wait_timeout is %d s, and an instance keeps idle connections for 60", idle), fmt.Sprintf("wait_timeout is %d s", idle))
	r.clock("mysql.clock", "this machine's", s.Clock, s.Uncertain, 250*time.Millisecond)
}

// version looks for a server that the SQL is written for.
func (r *Report) version(s store.Survey) {
	comment := s.Variables["version_comment"]
	var major, minor int
	_, err := fmt.Sscanf(s.Version, "%d.%d", &major, &minor)
	maria := strings.Contains(strings.ToLower(s.Version+comment), "mariadb")
	name, least := "MySQL", [2]int{8, 0}
	if maria {
		name, least = "MariaDB", [2]int{10, 6}
	}
	switch {
	case err != nil, strings.Contains(s.Version, "TiDB"), strings.Contains(s.Version, "Vitess"), strings.Contains(strings.ToLower(comment), "dolt"):
		r.bad(Warning, "mysql.version", "%s is none that Shelfcast was tried on", s.Version)
	case major < least[0] || major == least[0] && minor < least[1]:
		r.bad(Error, "mysql.version", "%s %s is older than %d.%d", name, s.Version, least[0], least[1])
	default:
		r.ok("mysql.version", "%s %s", name, s.Version)
	}
}

// migrating looks whether this user could migrate, if it has to be done.
func (r *Report) migrating(s store.Survey, f facts, g grants) {
	var lacks []string
	for _, right := range []string{"CREATE", "ALTER", "INDEX"} {
		if !g.has(right) {
			lacks = append(lacks, right)
		}
	}
	switch {
	case len(lacks) == 0:
		r.ok("mysql.migrate", "the user may migrate")
	case g.roles:
		r.ok("mysql.migrate", "the user has roles, and what they let it do cannot be seen from here")
	case s.Schema < f.release:
		r.bad(Error, "mysql.migrate", "the schema is to be migrated, and the user lacks %s", strings.Join(lacks, ", "))
	default:
		r.ok("mysql.migrate", "the user may not migrate (it lacks %s), and need not now", strings.Join(lacks, ", "))
	}
}

// triggers looks whether SQL of other programs is seen, or could be.
func (r *Report) triggers(s store.Survey, g grants) {
	may := g.has("TRIGGER")
	switch {
	case s.Triggers:
		r.ok("mysql.triggers", "installed: what other programs write with plain SQL is seen")
	case !may && !g.roles:
		r.ok("mysql.triggers", "not to be seen by this user, which lacks TRIGGER: whether what other programs write with plain SQL is seen cannot be told")
	default:
		r.ok("mysql.triggers", "not installed: what other programs write with plain SQL is not seen; `shelfcast migrate --triggers` installs them")
	}
	refused := on(s, "log_bin") && !on(s, "log_bin_trust_function_creators") && !g.super()
	switch {
	case refused && !s.Triggers:
		r.bad(Warning, "mysql.binlog", "the server keeps a binary log, does not trust the makers of triggers, and this user has not SUPER")
	case on(s, "log_bin"):
		r.ok("mysql.binlog", "the binary log is no obstacle to triggers")
	default:
		r.ok("mysql.binlog", "the server keeps no binary log")
	}
}

func (r *Report) isolation(s store.Survey) {
	level := cmp.Or(s.Variables["transaction_isolation"], s.Variables["tx_isolation"])
	switch level {
	case "READ-UNCOMMITTED":
		r.bad(Error, "mysql.isolation", "transactions read what others have not committed (%s)", level)
	case "SERIALIZABLE":
		r.bad(Warning, "mysql.isolation", "transactions lock all that they read (%s)", level)
	default:
		r.ok("mysql.isolation", "%s", level)
	}
	r.check(on(s, "log_bin") && s.Variables["binlog_format"] == "STATEMENT" && strings.HasPrefix(level, "READ-"), Error, "mysql.binlog_format",
		"binlog_format is STATEMENT, and isolation "+level, "the binary log takes what is written")
}

// connections holds what the instances may open against what the server takes.
// An instance more than there are runs during a deploy.
func (r *Report) connections(s store.Survey, f facts) {
	const code = "mysql.connections"
	limit, whose := number(s, "max_connections"), "max_connections"
	if user := number(s, "max_user_connections"); user > 0 && user < limit {
		limit, whose = user, "max_user_connections"
	}
	wanted := (f.instances + 1) * f.pool
	switch {
	case limit <= f.pool:
		r.bad(Error, code, "%s is %d, and one instance may open %d", whose, limit, f.pool)
	case limit < wanted:
		r.bad(Warning, code, "%s is %d, and %d instances, with one more for a deploy, may open %d", whose, limit, f.instances, wanted)
	default:
		r.ok(code, "%s is %d; %d instances, with one more for a deploy, may open %d", whose, limit, f.instances, wanted)
	}
}

// clock judges a difference that is known but for some uncertainty.
func (r *Report) clock(code, whose string, ahead, uncertain, most time.Duration) {
	far := ahead.Abs() - uncertain
	said := fmt.Sprintf("%v ahead of %s", ahead.Round(time.Millisecond), whose)
	if ahead < 0 {
		said = fmt.Sprintf("%v behind %s", ahead.Abs().Round(time.Millisecond), whose)
	}
	r.check(far > most, Warning, code, "the server's clock is "+said, "the server's clock is that of others, as far as can be told (by "+uncertain.Round(time.Microsecond).String()+")")
}

// replica judges the replica beside the primary.
func (r *Report) replica(primary, s store.Survey, now time.Time) {
	r.ok("replica.reach", "the replica answers: %s", s.Version)
	r.check(s.Schema != primary.Schema, Warning, "replica.schema",
		fmt.Sprintf("the replica's schema is at %d, and the primary's at %d", s.Schema, primary.Schema), "its schema is the primary's")
	denied := false
	for _, right := range s.Denied {
		denied = denied || right == "SELECT on products"
	}
	r.check(denied, Error, "replica.rights", "the user lacks SELECT on products", "the user may read products")
	// The primary was asked first: what it had then the replica lacks for as long
	// as it is old.
	lag := now.Add(primary.Clock).Sub(time.UnixMicro(primary.Latest))
	r.check(s.Latest < primary.Latest && lag > 5*time.Second, Warning, "replica.lag",
		fmt.Sprintf("the replica lacks an edit of %v ago", lag.Round(time.Second)), "it has the newest edit, or is about to")
	r.clock("replica.clock", "the primary's", s.Clock-primary.Clock, s.Uncertain+primary.Uncertain, time.Second)
}

func on(s store.Survey, variable string) bool {
	v := s.Variables[variable]
	return v == "ON" || v == "1"
}

func number(s store.Survey, variable string) int {
	n, _ := strconv.Atoi(s.Variables[variable])
	return n
}
