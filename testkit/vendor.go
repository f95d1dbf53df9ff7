package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// chosen returns the program in an environment variable, or "".
func chosen(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path != "" && !executable(path) {
		t.Fatalf("%s: %s cannot be executed", variable, path)
	}
	return path
}

// MySQL reports whether the tests run on MySQL, and not on MariaDB.
func MySQL(t testing.TB) bool {
	t.Helper()
	program := chosen(t, "SHELFCAST_TEST_MYSQL")
	if program == "" {
		program = find(t, "mariadb-server-core", "mariadbd", "mysqld")
	}
	return !maria(program)
}

// loopbackRoot returns a file of statements that create root@127.0.0.1: MySQL creates
// only root@localhost, which cannot log in by TCP with --skip-name-resolve.
func loopbackRoot(t testing.TB) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "init.sql")
	const statements = "CREATE USER root@127.0.0.1 IDENTIFIED BY '';\n" +
		"GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\n"
	if err := os.WriteFile(file, []byte(statements), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// startGTIDPair is StartMySQLPair for MySQL.
func startGTIDPair(t testing.TB) (primary, replica *MySQLServer) {
	t.Helper()
	flags := []string{"--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", trusted}
	primary = StartMySQL(t, append(flags, "--server-id=1")...)
	replica = StartMySQL(t, append(flags, "--server-id=2", "--read-only=ON")...)
	replica.Exec(fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST='127.0.0.1', SOURCE_PORT=%d, "+
		"SOURCE_USER='root', SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, GET_SOURCE_PUBLIC_KEY=1", primary.port))
	replica.Exec("START REPLICA")
	return primary, replica
}

// SupportedFlags returns the flags without those that only MariaDB has, if the server is
// MySQL.
func SupportedFlags(t testing.TB, flags []string) (supported []string) {
	t.Helper()
	for _, flag := range flags {
		if MySQL(t) {
			if flag == "--skip-character-set-client-handshake" || flag == "--sql-mode=EMPTY_STRING_IS_NULL" {
				continue
			}
			flag = strings.Replace(flag, "EMPTY_STRING_IS_NULL,", "", 1)
		}
		supported = append(supported, flag)
	}
	return supported
}

// KillUser kills all connections of that user.
func (m *MySQLServer) KillUser(user string) {
	m.t.Helper()
	db, err := plain("root@unix(" + m.socket + ")/")
	if err != nil {
		m.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT id FROM information_schema.processlist WHERE user = ?", user)
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			m.t.Fatal(err)
		}
		m.Exec(fmt.Sprint("KILL ", id))
	}
	if err := rows.Err(); err != nil {
		m.t.Fatal(err)
	}
}
