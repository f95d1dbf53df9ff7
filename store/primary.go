package store

import (
	"context"
	"database/sql/driver"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A server identifies the server of a connection, with the state that shows whether it is
// the primary.
type server struct {
	Name     string `db:"server"`
	ReadOnly bool   `db:"read_only"`
	Ready    bool   `db:"ready"`  // a node of Galera is part of its cluster; other servers always are
	Galera   bool   `db:"galera"` // a node of Galera
}

// serverColumns are the columns of a server. Aurora's readers set innodb_read_only.
const serverColumns = `
	CONCAT_WS(' ', CONCAT(@@hostname, ':', @@port), @@server_id /*!80000 , @@server_uuid */) AS server,
	@@global.read_only OR @@global.innodb_read_only AS read_only,
	1 /*M! AND IF(@@wsrep_on, (SELECT VARIABLE_VALUE = 'ON' FROM information_schema.GLOBAL_STATUS ` +
	`WHERE VARIABLE_NAME = 'WSREP_READY'), 1) */ AS ready,
	0 /*M! + @@wsrep_on */ AS galera`

func (s server) primary() bool { return s.Ready && !s.ReadOnly }

// A primary keeps the connections of a pool on the primary server. A demoted server stays
// up and answers, so its connections would stay in use. When an answer shows that a server
// is not the primary, all connections are replaced, with back-off: the host name may still
// lead to the demoted server, which is read meanwhile. Its methods may be called
// concurrently.
type primary struct {
	log       *slog.Logger
	closeIdle func()
	emptied   prometheus.Counter

	mu       sync.Mutex
	pace     *backoff.ExponentialBackOff
	since    time.Time // older connections are dropped
	next     time.Time // the earliest time to drop connections again
	doubted  time.Time // connections checked before this are checked again before use
	last     server    // the server that answered the last clock query; zero: none
	demoted  bool      // as logged
	refusing bool      // statements were refused since a primary answered last
}

func newPrimary(metrics prometheus.Registerer, log *slog.Logger) *primary {
	p := &primary{log: log, closeIdle: func() {}, pace: backoff.NewExponentialBackOff()}
	p.pace.InitialInterval, p.pace.MaxInterval = time.Second, 5*time.Second
	p.emptied = promauto.With(metrics).NewCounter(prometheus.CounterOpts{
		Name: "shelfcast_store_reconnects_total",
		Help: "Times that all connections were replaced because the server was not the primary.",
	})
	promauto.With(metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_store_primary",
		Help: "1 while the server that the feed reads accepts writes, 0 while it is read-only or has left its cluster.",
	}, func() float64 {
		if p.isPrimary() {
			return 1
		}
		return 0
	})
	return p
}

// isPrimary reports whether the server that answered last is the primary, as far as is known.
func (p *primary) isPrimary() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.refusing && (p.last.Name == "" || p.last.primary())
}

// refusedRead reports whether a read outside of a transaction failed because its server is
// not the primary. Such a read waits for no lock. On a node of Galera that has left its
// cluster it fails as if it did: there it waits for what other nodes have committed (see
// session.set).
func (p *primary) refusedRead(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return notPrimary(err) || p.last.Galera && number(err) == erLockWait
}

// observe records the server that answered the clock query, and reports whether the query
// should be repeated on a new connection.
func (p *primary) observe(s server) (again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.Name != s.Name && p.last.Name != "" { // other connections may still lead to the old server
		p.doubted = time.Now()
	}
	p.last = s
	if s.primary() {
		p.refusing = false
		if p.demoted {
			p.demoted = false
			p.log.Info("MySQL: the primary is reachable again", "server", s.Name)
		}
		if time.Now().After(p.next) {
			p.pace.Reset()
		}
		return false
	}
	if !p.demoted {
		p.demoted = true
		p.log.Warn("MySQL: the server is not the primary; replacing its connections",
			"server", s.Name, "read_only", s.ReadOnly, "ready", s.Ready)
	}
	return p.redial()
}

// noteRefusal records that a server refused a statement because it is not the primary, and
// reports whether the next try uses a new connection.
func (p *primary) noteRefusal() (redialled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
	return p.redial()
}

// noteWrite records that the server accepted an edit.
func (p *primary) noteWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
}

// redial drops all connections, unless the back-off forbids it. p.mu is held.
func (p *primary) redial() bool {
	now := time.Now()
	if now.Before(p.next) {
		return false
	}
	p.since, p.next = now, now.Add(p.pace.NextBackOff())
	p.emptied.Inc()
	p.closeIdle()
	return true
}

// strayLife is the lifetime of a connection that was not to the primary from the start.
const strayLife = 2 * time.Second

// A watchedConn is a connection that should be to the primary. One goroutine at a time uses
// it.
type watchedConn struct {
	driverConn
	primary          *primary
	dialled, checked time.Time
	server           server
}

// IsValid implements driver.Validator. It is called when the connection returns to the pool.
func (c *watchedConn) IsValid() bool { return c.driverConn.IsValid() && !c.dropped() }

// ResetSession implements driver.SessionResetter. It is called when the connection is taken
// from the pool; after driver.ErrBadConn the pool takes another one.
func (c *watchedConn) ResetSession(ctx context.Context) error {
	if c.dropped() {
		return driver.ErrBadConn
	}
	if err := c.driverConn.ResetSession(ctx); err != nil {
		return err
	}
	c.primary.mu.Lock()
	doubted := c.checked.Before(c.primary.doubted)
	c.primary.mu.Unlock()
	if !doubted {
		return nil
	}
	if err := c.check(ctx); err != nil || !c.server.primary() {
		return driver.ErrBadConn
	}
	return nil
}

// dropped reports whether the connection must be replaced.
func (c *watchedConn) dropped() bool {
	if !c.server.primary() && time.Since(c.dialled) > strayLife {
		return true
	}
	c.primary.mu.Lock()
	defer c.primary.mu.Unlock()
	return c.dialled.Before(c.primary.since)
}

// check reads which server this is.
func (c *watchedConn) check(ctx context.Context) error {
	began := time.Now()
	rows, err := c.QueryContext(ctx, `SELECT `+serverColumns, nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, 4)
	switch err := rows.Next(row); {
	case err == io.EOF:
		return driver.ErrBadConn
	case err != nil:
		return err
	}
	c.checked = began
	c.server = server{Name: text(row[0]), ReadOnly: text(row[1]) == "1", Ready: text(row[2]) == "1",
		Galera: text(row[3]) == "1"}
	return nil
}

// text returns a value of the driver as text.
func text(v driver.Value) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
}
