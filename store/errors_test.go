package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// What the tests can make no server answer is held against this table, and what
// they can too.
func TestErrorsAreClassifiedByNumber(t *testing.T) {
	for _, c := range []struct {
		number                        uint16
		unavailable, again, elsewhere bool
	}{
		{1020, true, true, false},   // a row has changed (MariaDB)
		{1021, true, false, false},  // the disk is full
		{1040, true, false, false},  // too many connections
		{1045, true, false, false},  // the password
		{1047, true, false, true},   // a node of Galera without its cluster
		{1053, true, false, false},  // shutdown
		{1054, true, false, false},  // no such column
		{1064, true, false, false},  // syntax
		{1114, true, false, false},  // the table is full
		{1142, true, false, false},  // a right
		{1146, true, false, false},  // no such table
		{1153, true, false, false},  // max_allowed_packet
		{1203, true, false, false},  // too many connections of the user
		{1205, true, true, false},   // lock wait
		{1213, true, true, false},   // deadlock
		{1226, true, false, false},  // a limit of the user
		{1290, true, false, true},   // read_only
		{1449, true, false, false},  // the definer of a trigger is gone
		{1792, true, false, true},   // a transaction that only reads
		{1836, true, false, true},   // read-only mode
		{1927, true, false, false},  // killed (MariaDB)
		{1969, true, false, false},  // max_statement_time (MariaDB)
		{3024, true, false, false},  // max_execution_time (MySQL)
		{3100, true, true, false},   // group replication, before the commit
		{3101, true, true, false},   // group replication rolled it back
		{9001, true, false, false},  // ProxySQL has no server
		{1048, false, false, false}, // NULL
		{1264, false, false, false}, // out of range
		{1366, false, false, false}, // not of the character set
		{1406, false, false, false}, // too long
		{1452, false, false, false}, // a foreign key
		{1644, false, false, false}, // SIGNAL
		{3819, false, false, false}, // a CHECK (MySQL)
		{4025, false, false, false}, // a CHECK (MariaDB)
	} {
		err := fmt.Errorf("product 7: %w", &mysql.MySQLError{Number: c.number, Message: "so it is"})
		if errors.Is(classify(err), ErrUnavailable) != c.unavailable ||
			retryable(err) != c.again || notPrimary(err) != c.elsewhere {
			t.Errorf("%d: unavailable %v, tried again %v, not the primary %v", c.number,
				errors.Is(classify(err), ErrUnavailable), retryable(err), notPrimary(err))
		}
		if n := number(classify(err)); n != c.number {
			t.Errorf("%d is %d once it was classified", c.number, n)
		}
	}
}
