package storetest

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

// A process is a server that a test started and may stop, kill, freeze and
// start again. Its methods are for one goroutine at a time.
type process struct {
	t     testing.TB
	argv  []string
	env   []string // besides the test's own
	dir   string
	log   string       // the file that has its output
	ready func() error // nil once it answers
	cmd   *exec.Cmd    // nil when it does not run
	ended chan error   // has what Wait said
}

// patience bounds how long a server may take to start or stop.
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
			return fmt.Errorf("%s ended: %v\n%s", p.argv[0], exit, p.said())
		case <-deadline:
			return fmt.Errorf("%s is not ready: %w\n%s", p.argv[0], err, p.said())
		case <-tick.C:
		}
	}
}

// Pid is the number of the process while it runs.
func (p *process) Pid() int { return p.cmd.Process.Pid }

func (p *process) said() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-4000):])
}

// Start starts a server that was stopped or killed: the same data, the same
// address.
func (p *process) Start() {
	p.t.Helper()
	if p.cmd != nil {
		p.t.Fatal("the server runs already")
	}
	if err := p.start(); err != nil {
		p.t.Fatal(err)
	}
}

// Stop asks the server to end, and waits for that.
func (p *process) Stop() { p.t.Helper(); p.end(syscall.SIGTERM) }

// Kill ends the server at once, as a crash does.
func (p *process) Kill() { p.t.Helper(); p.end(syscall.SIGKILL) }

// Pause freezes the server: its connections stay open and nothing answers.
func (p *process) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	Eventually(p.t, "the server stands still", func() bool { return stopped(p.cmd.Process.Pid) })
}

// Resume lets a paused server go on.
func (p *process) Resume() { p.t.Helper(); p.signal(syscall.SIGCONT) }

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if p.cmd == nil {
		p.t.Fatal("the server does not run")
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
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // a paused one hears nothing else
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		p.t.Errorf("%s did not end by itself", p.argv[0])
	}
	p.cmd = nil
}
