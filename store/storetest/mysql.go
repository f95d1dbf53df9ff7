package storetest

import (
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
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
)

// A MySQLServer is a MariaDB, or a MySQL where that is installed.
type MySQLServer struct {
	*process
	socket string
	port   int
}

var (
	databases atomic.Int64
	sharedMu  sync.Mutex
	sharedOne *MySQLServer
)

// SQL is a database for plain statements, until the test ends.
func SQL(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// DSN is that of an empty database of this test's own, on a server that the
// tests of this process share. Call Main from TestMain to have it stopped.
func DSN(t testing.TB) string {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if sharedOne == nil {
		dir, err := os.MkdirTemp("", "shelfcast-mysql-")
		if err != nil {
			t.Fatal(err)
		}
		sharedOne = startMySQL(t, dir)
	}
	return sharedOne.Database(t)
}

// Main runs the tests, stops what DSN has started, calls what is to be done after
// them, and exits. What the clients
// of MySQL and Redis log of a server that a test has killed is no news.
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

// StartMySQL starts a server of this test's own, to be stopped, killed and
// frozen. It ends with the test. The flags come after ours.
func StartMySQL(t testing.TB, flags ...string) *MySQLServer {
	t.Helper()
	m := startMySQL(t, t.TempDir(), flags...)
	t.Cleanup(m.Kill)
	return m
}

// StartMySQLTLS starts a server that takes TCP connections with TLS only, with a
// certificate of the authority in that file.
func StartMySQLTLS(t testing.TB) (server *MySQLServer, ca string) {
	t.Helper()
	ca, cert, key := Certificates(t)
	return StartMySQL(t, "--ssl-ca="+ca, "--ssl-cert="+cert, "--ssl-key="+key, "--require-secure-transport=ON"), ca
}

// StartMySQLPair starts a primary, and a replica that follows it.
func StartMySQLPair(t testing.TB) (primary, replica *MySQLServer) {
	t.Helper()
	primary = StartMySQL(t, "--log-bin=binlog", "--server-id=1", "--binlog-format=ROW")
	replica = StartMySQL(t, "--server-id=2", "--read-only=ON")
	if !maria(primary.argv[0]) {
		missing(t, "the tests make a replica of MariaDB only")
	}
	for _, statement := range []string{
		fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='root', MASTER_USE_GTID=slave_pos", primary.port),
		"START SLAVE",
	} {
		replica.Exec(statement)
	}
	return primary, replica
}

// Exec runs a statement that is the server's own affair.
func (m *MySQLServer) Exec(statement string) {
	m.t.Helper()
	if err := m.exec(statement); err != nil {
		m.t.Fatal(err)
	}
}

// DSN is that of a database which the server has, or is to have from its
// primary.
func (m *MySQLServer) DSN(name string) string {
	return fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s", m.port, name)
}

// Database makes an empty database, and is its DSN. It is dropped with the
// test, if the server runs then.
func (m *MySQLServer) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := m.exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if m.cmd != nil {
			_ = m.exec("DROP DATABASE " + name) // the whole server goes in the end
		}
	})
	return m.DSN(name)
}

func (m *MySQLServer) exec(query string) error {
	db, err := sql.Open("mysql", "root@unix("+m.socket+")/")
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return err
}

func startMySQL(t testing.TB, dir string, flags ...string) *MySQLServer {
	t.Helper()
	program := find(t, "mariadb-server-core", "mariadbd", "mysqld")
	data := filepath.Join(dir, "data")
	if err := copyTemplate(t, program, data); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 5 { // somebody else may take the port first
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
		flags = append(flags, "--innodb-log-file-size=8M", "--aria-log-file-size=8M", "--aria-pagecache-buffer-size=1M", "--skip-log-bin")
	} else {
		flags = append(flags, "--disable-log-bin", "--mysqlx=OFF")
	}
	return append(flags, asRoot()...)
}

// asRoot is the flag that a server asks for when root starts it.
func asRoot() []string {
	if os.Geteuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// copyTemplate makes a data folder. Making one takes a second, so one is kept
// for all runs of this user, and copied.
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
			return fmt.Errorf("making a data folder: %w\n%s", err, out)
		}
		if err := os.Rename(half, template); err != nil {
			return err
		}
	}
	return os.CopyFS(to, os.DirFS(template))
}

func installer(t testing.TB, program, dir string) *exec.Cmd {
	t.Helper()
	if !maria(program) {
		return exec.Command(program, append([]string{"--no-defaults", "--initialize-insecure", "--datadir=" + dir}, asRoot()...)...)
	}
	install := find(t, "mariadb-server-core", "mariadb-install-db", "mysql_install_db")
	return exec.Command(install, append([]string{
		"--no-defaults", "--datadir=" + dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M",
		"--innodb-buffer-pool-size=32M", "--innodb-flush-method=nosync", "--innodb-doublewrite=0",
		"--aria-log-file-size=8M",
	}, asRoot()...)...)
}
