package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// StartGalera starts a Galera cluster of two nodes. Both accept writes, and a
// commit on one is on the other a moment later.
func StartGalera(t testing.TB) (first, second *MySQLServer) {
	t.Helper()
	libraries, _ := filepath.Glob("/usr/lib*/galera*/libgalera_smm.so")
	if len(libraries) == 0 {
		missing(t, "Galera (galera-4)")
	}
	first, address := startNode(t, libraries[0], "", "")
	// The second starts with the data of the first, so it is sent only newer transactions.
	second, _ = startNode(t, libraries[0], address, first.status("wsrep_cluster_state_uuid"))
	Eventually(t, "both nodes are in the cluster", func() bool {
		return first.status("wsrep_cluster_size") == "2" && second.status("wsrep_local_state_comment") == "Synced"
	})
	return first, second
}

func startNode(t testing.TB, library, cluster, state string) (m *MySQLServer, address string) {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	address = fmt.Sprint("127.0.0.1:", port)
	if state != "" {
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		saved := fmt.Sprintf("# GALERA saved state\nversion: 2.1\nuuid:    %s\nseqno:   1\nsafe_to_bootstrap: 0\n", state)
		if err := os.WriteFile(filepath.Join(dir, "data", "grastate.dat"), []byte(saved), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m = startMySQL(t, dir, "--wsrep-on=ON", "--wsrep-provider="+library, "--wsrep-cluster-name=shelfcast",
		"--wsrep-cluster-address=gcomm://"+cluster, "--wsrep-node-address="+address, "--wsrep-sst-method=skip",
		fmt.Sprintf("--wsrep-provider-options=base_port=%d;gmcast.listen_addr=tcp://%s;"+
			"ist.recv_addr=127.0.0.1:%d;gcache.size=16M", port, address, FreePort(t)),
		"--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", trusted,
		"--loose-plugin-wsrep-provider=OFF") // which would keep wsrep_provider_options from being set, since MariaDB 11
	t.Cleanup(m.Kill)
	return m, address
}

// status returns a value of SHOW STATUS, or "".
func (m *MySQLServer) status(name string) (value string) {
	m.t.Helper()
	_ = SQL(m.t, m.DSN("")).QueryRow("SHOW STATUS LIKE '"+name+"'").Scan(&name, &value)
	return value
}
