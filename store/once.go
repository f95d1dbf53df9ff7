package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// A Call is one call of somebody, which may come twice: he got no answer and
// tries again.
type Call struct {
	Caller string // whose keys are his own; up to 1100 bytes
	Key    string // up to 1020 bytes
	Sum    string // of all that was asked, in up to 64 characters: the same key for something else is refused
}

// Once runs f, whose edits and whose answer commit together, unless the call has
// been answered before: then f is not run, and the answer is that one. A call
// that comes while the first is being made waits for it. ErrKeyReused if the
// call was another one.
//
// If f returns an error nothing that it did stays. The answer that it returns
// beside the error, if any, is kept for the call as well. f may be run again,
// when others were in its way.
func (db *DB) Once(ctx context.Context, call Call, f func(context.Context) (answer []byte, err error)) (answer []byte, before bool, err error) {
	answer, before, err = db.once(ctx, call, f)
	if err == nil || before || answer == nil {
		return answer, before, err
	}
	// It failed for good, and that is the answer.
	kept, before, errKeep := db.once(ctx, call, func(context.Context) ([]byte, error) { return answer, nil })
	if errKeep != nil {
		return nil, false, errKeep
	}
	if before {
		return kept, true, nil
	}
	return answer, false, err
}

func (db *DB) once(ctx context.Context, call Call, f func(context.Context) ([]byte, error)) (answer []byte, before bool, err error) {
	err = db.write(ctx, "once", func(ctx context.Context, tx *sqlx.Tx) error {
		answer, before = nil, false
		first, answered, err := claim(ctx, tx, call)
		if err != nil || answered {
			answer, before = first, answered
			return err
		}
		if answer, err = f(context.WithValue(ctx, joinKey{}, tx)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE answers SET answer = ? WHERE caller = ? AND call_key = ?`, answer, call.Caller, call.Key)
		return err
	})
	return answer, before, err
}

// claim makes the call's row, or has the answer of the one who has made it. While
// his transaction goes on the INSERT waits for it.
func claim(ctx context.Context, tx *sqlx.Tx, call Call) (answer []byte, answered bool, err error) {
	_, err = tx.ExecContext(ctx, `
		INSERT INTO answers (caller, call_key, body_sum, answer, made_at)
		VALUES (?, ?, ?, '', UTC_TIMESTAMP(6))`, call.Caller, call.Key, call.Sum)
	if err == nil || number(err) != erDupEntry {
		return nil, false, err
	}
	var first struct {
		Sum    string `db:"body_sum"`
		Answer []byte `db:"answer"`
	}
	err = tx.GetContext(ctx, &first, `SELECT body_sum, answer FROM answers WHERE caller = ? AND call_key = ?`, call.Caller, call.Key)
	if err == nil && first.Sum != call.Sum {
		err = fmt.Errorf("key %q: %w", call.Key, ErrKeyReused)
	}
	return first.Answer, err == nil, err
}

// Answered is the answer that a call got before, if it did. ErrKeyReused if the
// call was another one. It is for calls that cannot be one transaction.
func (db *DB) Answered(ctx context.Context, call Call) (answer []byte, before bool, err error) {
	var found []struct {
		Sum    string `db:"body_sum"`
		Answer []byte `db:"answer"`
	}
	err = db.read(ctx, "answered", func(ctx context.Context) error {
		return db.db.SelectContext(ctx, &found, `SELECT body_sum, answer FROM answers WHERE caller = ? AND call_key = ?`, call.Caller, call.Key)
	})
	if err != nil || len(found) == 0 {
		return nil, false, err
	}
	if found[0].Sum != call.Sum {
		return nil, false, fmt.Errorf("key %q: %w", call.Key, ErrKeyReused)
	}
	return found[0].Answer, true, nil
}

// ForgetAnswers drops the answers that are older than that, some thousands at a
// time, and says how many.
func (db *DB) ForgetAnswers(ctx context.Context, age time.Duration) (dropped int64, err error) {
	const some = 2000
	for {
		var n int64
		err := db.read(ctx, "forget_answers", func(ctx context.Context) error {
			result, err := db.db.ExecContext(ctx, `
				DELETE FROM answers
				WHERE made_at < TIMESTAMPADD(MICROSECOND, ?, UTC_TIMESTAMP(6))
				LIMIT `+fmt.Sprint(some), -age.Microseconds())
			if err == nil {
				n, err = result.RowsAffected()
			}
			return err
		})
		dropped += n
		if err != nil || n < some {
			return dropped, err
		}
	}
}
