package testkit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
)

// A MySQLServer is a MariaDB server, or a MySQL server if that is installed.
type MySQLServer struct {
	*process
	socket string
	port   int
	shared bool // by all tests of this process
}

var (
	databases atomic.Int64
	sharedMu  sync.Mutex
	sharedOne *MySQLServer
)

// SQL opens a database for plain statements, until the test ends. Each is committed
// separately, whatever the server's settings.
func SQL(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := plain(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// plain opens a database with the settings that statements of a test rely on.
func plain(dsn string) (*sql.DB, error) {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if err := c.Apply(mysql.Charset("utf8mb4", "utf8mb4_unicode_ci")); err != nil {
		return nil, err
	}
	if c.Params == nil {
		c.Params = map[string]string{}
	}
	for name, value := range map[string]string{
		"autocommit": "1", "completion_type": "0", "sql_mode": "'STRICT_TRANS_TABLES'",
		"sql_safe_updates": "0", "sql_big_selects": "1",
		"sql_select_limit": "18446744073709551615", "time_zone": "'+00:00'",
	} {
		if _, named := c.Params[name]; !named {
			c.Params[name] = value
		}
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Flags is an environment variable with more flags, separated by spaces, for the server
// that the tests of a process share.
const Flags = "SHELFCAST_TEST_MYSQL_FLAGS"

// DSN returns the DSN of a new, empty database for this test, on a server that the tests
// of this process share. TestMain must call Main, which stops it.
func DSN(t testing.TB) string {
	t.Helper()
	SkipShort(t)
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if sharedOne == nil {
		dir, err := os.MkdirTemp("", "shelfcast-mysql-")
		if err != nil {
			t.Fatal(err)
		}
		sharedOne = startMySQL(t, dir, SupportedFlags(t, strings.Fields(os.Getenv(Flags)))...)
		sharedOne.shared = true
	}
	return sharedOne.Database(t)
}

// Main runs the tests, calls the functions after, stops the server of DSN, and exits. It
// silences the clients of MySQL and Redis, which log that a server is gone when a test
// has killed it.
func Main(m *testing.M, after ...func()) {
	_ = mysql.SetLogger(&mysql.NopLogger{})
	redis.SetLogger(quiet{})
	os.Exit(run(m, after))
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func run(m *testing.M, after []func()) int {
	code := m.Run()
	for _, end := range after {
		end()
	}
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if sharedOne == nil {
		return code
	}
	_ = sharedOne.cmd.Process.Kill()
	<-sharedOne.ended
	if err := os.RemoveAll(sharedOne.dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// StartMySQL starts a server for this test alone, which ends with the test. The flags
// follow the default ones.
func StartMySQL(t testing.TB, flags ...string) *MySQLServer {
	t.Helper()
	m := startMySQL(t, t.TempDir(), flags...)
	t.Cleanup(m.Kill)
	return m
}

// StartMySQLTLS starts a server that requires TLS on TCP. ca is the file of its
// certificate's authority.
func StartMySQLTLS(t testing.TB) (server *MySQLServer, ca string) {
	t.Helper()
	ca, cert, key := Certificates(t)
	return StartMySQL(t, "--ssl-ca="+ca, "--ssl-cert="+cert, "--ssl-key="+key, "--require-secure-transport=ON"), ca
}

// trusted allows users without SUPER to create triggers on a server with a binary log. It is
// a flag and not SET GLOBAL, which a restart would undo.
const trusted = "--log-bin-trust-function-creators=1"

// StartMySQLPair starts a primary, and a replica that follows it. Users without SUPER
// may create triggers on both.
func StartMySQLPair(t testing.TB) (primary, replica *MySQLServer) {
	t.Helper()
	if MySQL(t) {
		return startGTIDPair(t)
	}
	primary = StartMySQL(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW", trusted)
	replica = StartMySQL(t, "--server-id=2", "--read-only=ON")
	for _, statement := range []string{
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, "+
			"MASTER_USER='root', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1", primary.port),
		"START REPLICA",
	} {
		replica.Exec(statement)
	}
	return primary, replica
}

// Exec runs a statement as root, outside of any database.
func (m *MySQLServer) Exec(statement string) {
	m.t.Helper()
	if err := m.exec(statement); err != nil {
		m.t.Fatal(err)
	}
}

// DSN returns the DSN of the database of that name, which may not exist yet.
func (m *MySQLServer) DSN(name string) string {
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", m.port, name)
}

// Addr returns host:port.
func (m *MySQLServer) Addr() string { return fmt.Sprint("127.0.0.1:", m.port) }

// Switchover makes the replica of StartMySQLPair the primary, once it has all of the
// primary's transactions. The old primary keeps running, read-only.
func Switchover(t testing.TB, primary, replica *MySQLServer) {
	t.Helper()
	primary.Exec("SET GLOBAL read_only=1")
	db, err := plain("root@unix(" + primary.socket + ")/")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	position := "@@gtid_binlog_pos"
	if MySQL(t) {
		position = "@@gtid_executed"
	}
	if err := db.QueryRow("SELECT " + position).Scan(&position); err != nil {
		t.Fatal(err)
	}
	wait := "MASTER_GTID_WAIT"
	if MySQL(t) {
		wait = "WAIT_FOR_EXECUTED_GTID_SET"
	}
	behind, err := plain("root@unix(" + replica.socket + ")/")
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	var timedOut int
	if err := behind.QueryRow("SELECT "+wait+"(?, 60)", position).Scan(&timedOut); err != nil || timedOut != 0 {
		t.Fatalf("the replica did not reach %s: %d, %v", position, timedOut, err)
	}
	replica.Exec("STOP REPLICA")
	replica.Exec("SET GLOBAL read_only=0")
	// Both keep their roles when they are restarted.
	replica.argv = append(replica.argv, "--read-only=OFF")
	primary.argv = append(primary.argv, "--read-only=ON")
}

// Database creates an empty database and returns its DSN. On the shared server it is
// dropped at the end of the test; another server ends with its test.
func (m *MySQLServer) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := m.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	if m.shared {
		t.Cleanup(func() { _ = m.exec("DROP DATABASE " + name) }) // the whole server is removed at the end
	}
	return m.DSN(name)
}

func (m *MySQLServer) exec(query string) error {
	db, err := plain("root@unix(" + m.socket + ")/")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return err
}

func startMySQL(t testing.TB, dir string, flags ...string) *MySQLServer {
	t.Helper()
	program := cmp.Or(chosen(t, "SHELFCAST_TEST_MYSQL"), find(t, "mariadb-server-core", "mariadbd", "mysqld"))
	data := filepath.Join(dir, "data")
	if err := copyTemplate(t, program, data); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 { // another process may take the port first
		m := &MySQLServer{socket: filepath.Join(dir, "s.sock"), port: FreePort(t)}
		m.process = &process{
			t: t, dir: dir, log: filepath.Join(dir, "mysql.log"),
			argv:  slices.Concat([]string{program}, serverFlags(program, dir, m.socket, m.port), flags),
			ready: func() error { return m.exec("DO 1") },
		}
		if err = m.start(); err == nil {
			return m
		}
		m.Kill()
	}
	t.Fatal(err)
	return nil
}

func maria(program string) bool { return strings.Contains(filepath.Base(program), "maria") }

func serverFlags(program, dir, socket string, port int) []string {
	flags := []string{
		"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--socket=" + socket,
		"--pid-file=" + filepath.Join(dir, "pid"), "--tmpdir=" + dir,
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci",
		"--default-time-zone=+00:00", "--max-connections=300",
		"--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2",
		"--innodb-doublewrite=0", "--innodb-flush-method=nosync", "--innodb-fast-shutdown=2",
		"--innodb-buffer-pool-dump-at-shutdown=0", "--innodb-buffer-pool-load-at-startup=0",
		"--key-buffer-size=1M", "--performance-schema=0",
	}
	if maria(program) {
		flags = append(flags, "--innodb-log-file-size=8M", "--aria-log-file-size=8M",
			"--aria-pagecache-buffer-size=1M", "--skip-log-bin")
	} else {
		flags = append(flags, "--disable-log-bin", "--mysqlx=OFF", "--secure-file-priv=")
	}
	return append(flags, asRoot()...)
}

// asRoot returns the flag that a server asks for when root starts it.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// copyTemplate creates a data folder as a copy of a template, as initialising one takes
// a second. The template is kept for all runs of this user.
func copyTemplate(t testing.TB, program, to string) error {
	t.Helper()
	info, err := os.Stat(program)
	if err != nil {
		return err
	}
	version := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", program, info.Size(), info.ModTime()))
	template := filepath.Join(os.TempDir(), fmt.Sprintf("shelfcast-template-%d-%x", os.Geteuid(), version[:6]))
	if err := os.MkdirAll(filepath.Dir(template), 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(template+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { // several packages' tests run at once
		return err
	}
	if _, err := os.Stat(template); os.IsNotExist(err) {
		half := template + ".half"
		if err := os.RemoveAll(half); err != nil {
			return err
		}
		if out, err := installer(t, program, half).CombinedOutput(); err != nil {
			return fmt.Errorf("initialising a data folder: %w\n%s", err, out)
		}
		if err := os.Rename(half, template); err != nil {
			return err
		}
	}
	if err := os.CopyFS(to, os.DirFS(template)); err != nil {
		return err
	}
	// It has MySQL's id of a server, which must be unique.
	if err := os.Remove(filepath.Join(to, "auto.cnf")); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func installer(t testing.TB, program, dir string) *exec.Cmd {
	t.Helper()
	if !maria(program) {
		return exec.Command(program, append([]string{"--no-defaults", "--initialize-insecure",
			"--datadir=" + dir, "--init-file=" + loopbackRoot(t)}, asRoot()...)...)
	}
	install, base := find(t, "mariadb-server-core", "mariadb-install-db", "mysql_install_db"), "/usr"
	if chosen(t, "SHELFCAST_TEST_MYSQL") != "" { // the one of the same version
		base = filepath.Dir(filepath.Dir(program))
		install = filepath.Join(base, "bin", "mariadb-install-db")
	}
	return exec.Command(install, append([]string{
		"--no-defaults", "--datadir=" + dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M",
		"--innodb-buffer-pool-size=32M", "--innodb-flush-method=nosync", "--innodb-doublewrite=0",
		"--aria-log-file-size=8M", "--basedir=" + base,
	}, asRoot()...)...)
}
