package testkit

import (
	"path/filepath"
	"testing"
)

// A Server is any program, run by a test.
type Server struct {
	*process
}

// StartServer starts argv in an empty folder, with env added to the environment, and
// waits until ready returns nil. It ends with the test.
func StartServer(t testing.TB, ready func() error, env []string, argv ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{&process{t: t, dir: dir, log: filepath.Join(dir, "log"), argv: argv, env: env, ready: ready}}
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Log returns the file with the server's output, of all its starts.
func (s *Server) Log() string { return s.log }
