package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// What a caller may branch on, with errors.Is.
var (
	// ErrNotFound: there is no such product.
	ErrNotFound = errors.New("no such product")
	// ErrConflict: the product has changed since the version its author had
	// seen. The error is a *ConflictError, which has the newer Rev.
	ErrConflict = errors.New("the product has changed since")
	// ErrDuplicateSKU: another product has the SKU.
	ErrDuplicateSKU = errors.New("another product has this SKU")
	// ErrDuplicateExternalID: another product has the external id.
	ErrDuplicateExternalID = errors.New("another product has this external id")
	// ErrKeyReused: the key of a Call came before, with another call.
	ErrKeyReused = errors.New("the idempotency key was used for another call")
	// ErrNoToken: there is no such token, or it is good no more.
	ErrNoToken = errors.New("no such token")
	// ErrTooMany: it would be too much for one transaction.
	ErrTooMany = errors.New("too many products for one call")
	// ErrBatch: an edit of a batch failed, and so none was made. The error is a
	// *BatchError, which has what became of each.
	ErrBatch = errors.New("none of the batch's edits was made")
	// ErrArchived: an archived product takes no edits.
	ErrArchived = errors.New("the product is archived")
	// ErrInvalid: the edit breaks a rule. The error is an *InvalidError, which
	// names the fields.
	ErrInvalid = errors.New("invalid input")
	// ErrUnavailable: the database did not answer, or not in time. The same
	// call may succeed later. An edit that ends so may or may not have been
	// made; its author finds out by reading, or by trying again with the
	// version seen before.
	ErrUnavailable = errors.New("database unavailable")
)

// A ConflictError is an ErrConflict that says what is current.
type ConflictError struct{ Current Rev }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("product %d: %v, to version %d", e.Current.ID, ErrConflict, e.Current.Version)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// A FieldError is one rule that one field of a product breaks.
type FieldError struct {
	Field   string // its JSON name
	Message string
}

// An InvalidError is an ErrInvalid with all the rules that were broken.
type InvalidError struct{ Fields []FieldError }

func (e *InvalidError) Error() string {
	said := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		said[i] = f.Field + " " + f.Message
	}
	return ErrInvalid.Error() + ": " + strings.Join(said, "; ")
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// MySQL's and MariaDB's error numbers. The two share all of these.
const (
	erDupEntry        = 1062
	erConCount        = 1040 // too many connections
	erServerShutdown  = 1053
	erLockWait        = 1205
	erDeadlock        = 1213
	erReadOnly        = 1290 // a primary that has become a replica
	erReadOnlyTx      = 1836
	erCheckRead       = 1020 // MariaDB with innodb_snapshot_isolation
	erTooManyUserConn = 1203
	erNoTriggerRight  = 1142
	erBinlogTrigger   = 1419
)

// number is the server's number for err, or 0 when err is not the server's.
func number(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// errOvertaken: somebody else has changed a row that this transaction had read.
var errOvertaken = errors.New("overtaken")

// retryable: the transaction was rolled back, or never did a thing, because of
// others at the same rows; the same again may pass.
func retryable(err error) bool {
	if errors.Is(err, errOvertaken) {
		return true
	}
	switch number(err) {
	case erDeadlock, erLockWait, erCheckRead:
		return true
	}
	return false
}

// duplicate says what another product has already. The server has one number for
// all unique keys, and names the key at the end of its message.
func duplicate(err error) error {
	if strings.HasSuffix(strings.TrimRight(err.Error(), "'"), "products_external_id") {
		return ErrDuplicateExternalID
	}
	return ErrDuplicateSKU
}

// classify gives err the sentinel that a caller branches on.
func classify(err error) error {
	switch number(err) {
	case erDupEntry:
		return duplicate(err)
	case erDeadlock, erLockWait, erCheckRead, // others were in the way at every try
		erConCount, erTooManyUserConn, erServerShutdown, erReadOnly, erReadOnlyTx:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	_, isNet := errors.AsType[net.Error](err)
	switch {
	case err == nil, errors.Is(err, ErrUnavailable):
		return err
	case isNet,
		errors.Is(err, errOvertaken),
		errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, driver.ErrBadConn),
		errors.Is(err, mysql.ErrInvalidConn),
		errors.Is(err, sql.ErrConnDone):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
