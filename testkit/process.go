package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A process is a server that a test can stop, kill, pause and start again. Its methods
// must not be called concurrently.
type process struct {
	t     testing.TB
	argv  []string
	env   []string // in addition to the test's own
	dir   string
	log   string       // file with its output
	ready func() error // returns nil once it answers
	cmd   *exec.Cmd    // nil while it does not run
	ended chan error   // receives the result of Wait
}

// patience bounds the start and the stop of a server.
const patience = 30 * time.Second

// starter runs functions on one thread that lives as long as this process: the
// kernel ends a child when the thread that started it ends (Pdeathsig).
var starter = sync.OnceValue(func() chan func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range calls {
			f()
		}
	}()
	return calls
})

// start starts the server and waits until it is ready.
func (p *process) start() error {
	output, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	p.cmd = exec.Command(p.argv[0], p.argv[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, output, output
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.SysProcAttr = dieWithUs()
	started := make(chan error)
	starter() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		p.cmd = nil
		return err
	}
	ended := make(chan error, 1)
	go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(p.cmd)
	p.ended = ended
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = p.ready(); err == nil {
			return nil
		}
		select {
		case exit := <-ended:
			p.cmd = nil
			return fmt.Errorf("%s ended: %v\n%s", p.argv[0], exit, p.output())
		case <-deadline:
			return fmt.Errorf("%s is not ready: %w\n%s", p.argv[0], err, p.output())
		case <-tick.C:
		}
	}
}

// Pid returns the process id of a running server.
func (p *process) Pid() int { return p.cmd.Process.Pid }

// output returns the end of the log.
func (p *process) output() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-4000):])
}

// Start starts a stopped or killed server again, with the same data and address.
func (p *process) Start() {
	p.t.Helper()
	if p.cmd != nil {
		p.t.Fatal("the server is already running")
	}
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

// Stop terminates the server, and waits for its end.
func (p *process) Stop() { p.t.Helper(); p.end(syscall.SIGTERM) }

// Kill kills the server, like a crash.
func (p *process) Kill() { p.t.Helper(); p.end(syscall.SIGKILL) }

// Pause freezes the server: connections stay open, and it does not answer.
func (p *process) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	Eventually(p.t, "the server is paused", func() bool { return stopped(p.cmd.Process.Pid) })
}

// Resume continues a paused server.
func (p *process) Resume() { p.t.Helper(); p.signal(syscall.SIGCONT) }

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		p.t.Fatal("the server is not running")
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) end(s os.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(s)               // it may have ended by itself
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // for a paused one
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.t.Errorf("%s had to be killed", p.argv[0])
	}
	p.cmd = nil
}
