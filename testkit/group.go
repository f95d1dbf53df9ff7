package testkit

import (
	"fmt"
	"testing"
)

// A Group is two servers of MySQL's group replication in single-primary mode.
type Group struct {
	Primary, Secondary *MySQLServer
}

// StartGroup starts a Group. The secondary is read-only, and has a commit a moment after it.
func StartGroup(t testing.TB) *Group {
	t.Helper()
	addresses := [2]string{fmt.Sprint("127.0.0.1:", FreePort(t)), fmt.Sprint("127.0.0.1:", FreePort(t))}
	start := func(n int) *MySQLServer {
		m := StartMySQL(t, "--log-bin=binlog", "--gtid-mode=ON", "--enforce-gtid-consistency=ON", trusted,
			fmt.Sprint("--server-id=", n+1), "--performance-schema=1", "--report-host=127.0.0.1",
			"--plugin-load-add=group_replication.so",
			"--loose-group-replication-group-name=8d1a4c5e-0d0b-4b6e-9c55-3a1c7f1d2b10",
			"--loose-group-replication-start-on-boot=OFF",
			"--loose-group-replication-local-address="+addresses[n],
			"--loose-group-replication-group-seeds="+addresses[0]+","+addresses[1],
			"--loose-group-replication-ip-allowlist=127.0.0.1/8",
			"--loose-group-replication-recovery-get-public-key=ON")
		m.Exec("CHANGE REPLICATION SOURCE TO SOURCE_USER='root' FOR CHANNEL 'group_replication_recovery'")
		return m
	}
	g := &Group{Primary: start(0)}
	g.Primary.Exec("SET GLOBAL group_replication_bootstrap_group=ON")
	g.Primary.Exec("START GROUP_REPLICATION")
	g.Primary.Exec("SET GLOBAL group_replication_bootstrap_group=OFF")
	g.Secondary = start(1)
	g.Secondary.Exec("START GROUP_REPLICATION")
	Eventually(t, "both servers are in the group", func() bool {
		var online int
		err := SQL(t, g.Secondary.DSN("performance_schema")).QueryRow(
			"SELECT COUNT(*) FROM replication_group_members WHERE MEMBER_STATE = 'ONLINE'").Scan(&online)
		return err == nil && online == 2
	})
	return g
}

// Switchover makes the secondary the primary, and waits until it accepts writes and the
// other does not. Both stay up.
func (g *Group) Switchover(t testing.TB) {
	t.Helper()
	var uuid string
	if err := SQL(t, g.Secondary.DSN("")).QueryRow("SELECT @@server_uuid").Scan(&uuid); err != nil {
		t.Fatal(err)
	}
	g.Primary.Exec("SELECT group_replication_set_as_primary('" + uuid + "')")
	g.Primary, g.Secondary = g.Secondary, g.Primary
	is := func(m *MySQLServer, readOnly bool) bool {
		var got bool
		err := SQL(t, m.DSN("")).QueryRow("SELECT @@super_read_only").Scan(&got)
		return err == nil && got == readOnly
	}
	Eventually(t, "the servers have changed roles", func() bool { return is(g.Primary, false) && is(g.Secondary, true) })
}
