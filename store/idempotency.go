package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// An IdempotentCall identifies a call that a client may repeat because it got no response.
type IdempotentCall struct {
	Caller string // keys of different callers are different; up to 1100 bytes
	Key    string // the idempotency key; up to 1020 bytes
	Digest string // hash of the whole request, up to 64 characters: the same key with another request is refused
}

// RunIdempotent runs f once for each call. The edits of f and its response commit
// together. If the call was made before, it returns the stored response without running f;
// replayed is true then. A call that arrives while the first one runs waits for it.
// ErrKeyReused: the key was used for another request.
//
// If f returns an error its edits are rolled back. A response that it returns with the
// error is stored nevertheless. f may be run more than once, after a deadlock.
func (db *DB) RunIdempotent(ctx context.Context, call IdempotentCall,
	f func(context.Context) (response []byte, err error)) (response []byte, replayed bool, err error) {
	response, replayed, err = db.runIdempotent(ctx, call, f)
	if err == nil || replayed || response == nil {
		return response, replayed, err
	}
	// The call failed, and retries get this response.
	stored, replayed, errStore := db.runIdempotent(ctx, call,
		func(context.Context) ([]byte, error) { return response, nil })
	if errStore != nil {
		return nil, false, errStore
	}
	if replayed {
		return stored, true, nil
	}
	return response, false, err
}

func (db *DB) runIdempotent(ctx context.Context, call IdempotentCall,
	f func(context.Context) ([]byte, error)) (response []byte, replayed bool, err error) {
	err = db.write(ctx, "idempotent", func(ctx context.Context, tx *sqlx.Tx) error {
		response, replayed = nil, false
		first, found, err := claimKey(ctx, tx, call)
		if err != nil || found {
			response, replayed = first, found
			return err
		}
		if response, err = f(context.WithValue(ctx, txKey{}, tx)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE answers SET answer = ? WHERE caller = ? AND call_key = ?`,
			response, call.Caller, call.Key)
		return err
	})
	return response, replayed, err
}

// claimKey inserts the row of the call, or returns its response. The INSERT waits while
// another transaction has inserted the same key.
func claimKey(ctx context.Context, tx *sqlx.Tx, call IdempotentCall) (response []byte, found bool, err error) {
	_, err = tx.ExecContext(ctx, `
		INSERT INTO answers (caller, call_key, body_sum, answer, made_at)
		VALUES (?, ?, ?, '', UTC_TIMESTAMP(6))`, call.Caller, call.Key, call.Digest)
	if err == nil || number(err) != erDupEntry {
		return nil, false, err
	}
	var first struct {
		Sum      string `db:"body_sum"`
		Response []byte `db:"answer"`
	}
	err = tx.GetContext(ctx, &first,
		`SELECT body_sum, answer FROM answers WHERE caller = ? AND call_key = ?`, call.Caller, call.Key)
	if err == nil && first.Sum != call.Digest {
		err = fmt.Errorf("key %q: %w", call.Key, ErrKeyReused)
	}
	return first.Response, err == nil, err
}

// StoredResponse returns the response that the call got before, if any. It is for calls
// that cannot be one transaction. Errors: ErrKeyReused, ErrUnavailable.
func (db *DB) StoredResponse(ctx context.Context, call IdempotentCall) (response []byte, replayed bool, err error) {
	var found []struct {
		Sum      string `db:"body_sum"`
		Response []byte `db:"answer"`
	}
	err = db.read(ctx, "stored_response", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found,
			`SELECT body_sum, answer FROM answers WHERE caller = ? AND call_key = ?`, call.Caller, call.Key)
	})
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	if found[0].Sum != call.Digest {
		return nil, false, fmt.Errorf("key %q: %w", call.Key, ErrKeyReused)
	}
	return found[0].Response, true, nil
}

// DeleteStoredResponses deletes the responses that are older than age, 2,000 at a time, and
// returns their number.
func (db *DB) DeleteStoredResponses(ctx context.Context, age time.Duration) (deleted int64, err error) {
	const limit = 2000
	for {
		var n int64
		err := db.read(ctx, "delete_stored_responses", func(ctx context.Context) error {
			result, err := db.db.ExecContext(ctx, `
				DELETE FROM answers
				WHERE made_at < TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6))
				LIMIT `+fmt.Sprint(limit), -age.Microseconds())
			if err == nil {
				n, err = result.RowsAffected()
			}
			return err
		})
		deleted += n
		if err != nil || n < limit {
			return deleted, err
		}
	}
}
