package storetest

import (
	"path/filepath"
	"testing"
)

// A Server is a program of the test's choice, to be stopped, killed, frozen and
// started again.
type Server struct {
	*process
}

// StartServer starts argv in an empty folder, with these variables added to the
// environment, and waits until ready is nil. It ends with the test.
func StartServer(t testing.TB, ready func() error, env []string, argv ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{&process{t: t, dir: dir, log: filepath.Join(dir, "log"), argv: argv, env: env, ready: ready}}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Log is the file that has what the server has printed since it first started.
func (s *Server) Log() string { return s.log }
