package main

import (
	"fmt"
	"io"

	"time"

	"github.com/alicebob/miniredis/v2"
	sqle "github.com/dolthub/go-mysql-server"
	"github.com/dolthub/go-mysql-server/memory"
	"github.com/dolthub/go-mysql-server/server"
	"github.com/dolthub/go-mysql-server/sql"
	"github.com/sirupsen/logrus"
)

// databaseName is the name of the database.
const databaseName = "shop"

// A database is a MySQL-compatible server in this process, on a free port of loopback.
// It is correct only with one connection at a time: with more it silently loses
// updates.
type database struct {
	server *server.Server
	ended  chan error
}

func startDatabase() (*database, error) {
	logrus.SetOutput(io.Discard) // it logs each connection
	memoryDB := memory.NewDatabase(databaseName)
	memoryDB.EnablePrimaryKeyIndexes()
	provider := memory.NewDBProvider(memoryDB)
	s, err := server.NewServer(
		server.Config{Protocol: "tcp", Address: "127.0.0.1:0"},
		sqle.NewDefault(provider), sql.NewContext, memory.NewSessionBuilder(provider), nil)
	if err != nil {
		return nil, fmt.Errorf("embedded MySQL: %w", err)
	}
	d := &database{server: s, ended: make(chan error, 1)}
	go func() { d.ended <- s.Start() }()
	return d, nil
}

// dsn returns a DSN for github.com/go-sql-driver/mysql.
func (d *database) dsn() string {
	return fmt.Sprintf("root@tcp(%s)/%s", d.server.Listener.Addr(), databaseName)
}

func (d *database) close() {
	d.server.Close()
	<-d.ended //nolint:errcheck // it was stopped
}

// A cache is a Redis in this process. Keys expire only when its clock is advanced.
type cache struct {
	redis *miniredis.Miniredis
	stop  chan struct{}
	ended chan struct{}
}

func startCache() (*cache, error) {
	redis, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("embedded Redis: %w", err)
	}
	c := &cache{redis: redis, stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		const step = 100 * time.Millisecond
		tick := time.NewTicker(step)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				redis.FastForward(step)
			case <-c.stop:
				return
			}
		}
	}()
	return c, nil
}

func (c *cache) url() string { return "redis://" + c.redis.Addr() + "/0" }

func (c *cache) close() {
	close(c.stop)
	<-c.ended
	c.redis.Close()
}
