package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// The errors that callers branch on with errors.Is.
var (
	// ErrNotFound: there is no such product.
	ErrNotFound = errors.New("no such product")
	// ErrConflict: the product has changed since the version that the edit names. The
	// error is a *ConflictError, which has the current Rev.
	ErrConflict = errors.New("the product has changed since")
	// ErrDuplicateSKU: another product has the SKU.
	ErrDuplicateSKU = errors.New("another product has this SKU")
	// ErrDuplicateExternalID: another product has the external id.
	ErrDuplicateExternalID = errors.New("another product has this external id")
	// ErrKeyReused: the idempotency key was used for another request.
	ErrKeyReused = errors.New("the idempotency key was used for another request")
	// ErrNoToken: there is no such token, or it has expired or was revoked.
	ErrNoToken = errors.New("no such token")
	// ErrTooMany: too many products for one transaction.
	ErrTooMany = errors.New("too many products for one call")
	// ErrBatch: an edit of a batch failed, so none was made. The error is a *BatchError,
	// which has the result of each.
	ErrBatch = errors.New("none of the batch's edits was made")
	// ErrArchived: an archived product cannot be edited.
	ErrArchived = errors.New("the product is archived")
	// ErrInvalid: the edit breaks a rule. The error is an *InvalidError, which
	// names the fields.
	ErrInvalid = errors.New("invalid input")
	// ErrUnavailable: the database did not answer, or not in time. The same call may
	// succeed later. After it, it is unknown whether an edit was made: read the
	// product, or repeat the edit with the same version.
	ErrUnavailable = errors.New("database unavailable")
)

// A ConflictError is an ErrConflict with the current Rev.
type ConflictError struct{ Current Rev }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("product %d: %v: it is at version %d", e.Current.ID, ErrConflict, e.Current.Version)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// A FieldError is a rule that a field breaks.
type FieldError struct {
	Field   string // its JSON name
	Message string
}

// An InvalidError is an ErrInvalid with all broken rules.
type InvalidError struct{ Fields []FieldError }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Field + " " + f.Message
	}
	return ErrInvalid.Error() + ": " + strings.Join(parts, "; ")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Error numbers of MySQL and MariaDB. Some exist in only one of them.
const (
	erCheckRead        = 1020 // MariaDB with innodb_snapshot_isolation
	erNoDatabaseRight  = 1044
	erNotReady         = 1047 // a Galera node that has left its cluster
	erNoColumn         = 1054
	erDupEntry         = 1062
	erNoSuchGrant      = 1141
	erNoTableRight     = 1142
	erNoColumnRight    = 1143
	erNoTable          = 1146
	erLockWait         = 1205
	erDeadlock         = 1213
	erNoRight          = 1227
	erReadOnly         = 1290 // a primary that has become a replica
	erBinlogTrigger    = 1419
	erReadOnlyTx       = 1792
	erReadOnlyMode     = 1836
	erBeforeCommit     = 3100 // group replication rolled it back
	erRollbackAtCommit = 3101
)

// dataFaults are the errors that the data of an edit causes: it would fail on any server.
var dataFaults = []uint16{
	1048,                   // NULL in a NOT NULL column
	erDupEntry, 1169, 1586, // a unique key
	1216, 1217, 1451, 1452, // a foreign key that the shop added
	1264, 1265, 1292, 1366, 1406, 1441, 1690, 3140, 3988, // a value that does not fit
	1364,       // a column that the shop added, without a default
	1644,       // SIGNAL in a trigger that the shop added
	3819, 4025, // a CHECK
}

// number returns the server's error number, or 0 if err is not from the server.
func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// errRowChanged: another transaction changed a row after this one read it.
var errRowChanged = errors.New("another transaction changed the row")

// errRedialled: the server is not the primary and refused the transaction at its start. The
// next try uses a new connection.
var errRedialled = errors.New("the server is not the primary; connecting again")

// retryable reports whether the transaction was rolled back, or did nothing, because of other
// transactions or of the server, so that the same transaction may succeed now.
func retryable(err error) bool {
	return contended(err) || errors.Is(err, errRedialled) ||
		slices.Contains([]uint16{erBeforeCommit, erRollbackAtCommit}, number(err))
}

// contended reports whether a lock or an edit of another transaction caused err.
func contended(err error) bool {
	return errors.Is(err, errRowChanged) || slices.Contains([]uint16{erDeadlock, erLockWait, erCheckRead}, number(err))
}

// notPrimary reports whether the server refused because it is not the primary, or not ready.
func notPrimary(err error) bool {
	return slices.Contains([]uint16{erNotReady, erReadOnly, erReadOnlyTx, erReadOnlyMode}, number(err))
}

// duplicate returns the error for a unique key. The server has one error number for all of
// them, and names the key at the end of its message.
func duplicate(err error) error {
	if strings.HasSuffix(strings.TrimRight(err.Error(), "'"), "products_external_id") {
		return ErrDuplicateExternalID
	}
	return ErrDuplicateSKU
}

// classify wraps err with the sentinel that callers branch on. Every error of the server that
// the data did not cause is an ErrUnavailable: callers then serve what is cached, and the
// same call may succeed later, often after an operator has repaired the server.
func classify(err error) error {
	_, isNet := errors.AsType[net.Error](err)
	switch n := number(err); {
	case err == nil, errors.Is(err, ErrUnavailable):
		return err
	case n == erDupEntry:
		return duplicate(err)
	case slices.Contains(dataFaults, n):
		return err
	case n != 0,
		isNet,
		errors.Is(err, errRowChanged),
		errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, driver.ErrBadConn),
		errors.Is(err, mysql.ErrInvalidConn),
		errors.Is(err, sql.ErrConnDone):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
