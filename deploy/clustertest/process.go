package clustertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A process is a server of the cluster.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string        // file with its output
	ended chan struct{} // closed when it has ended; err is valid then
	err   error
}

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

func startProcess(dir, program string, args ...string) (*process, error) {
	name := filepath.Base(program)
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	output, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, output, output
	p.cmd.SysProcAttr = dieWithUs()
	started := make(chan error)
	starter() <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// until waits until ready returns nil. It fails when the process ends.
func (p *process) until(ctx context.Context, ready func() error) error {
	err := eventually(ctx, func() error {
		select {
		case <-p.ended:
			return over{fmt.Errorf("%s ended: %v", p.name, p.err)}
		default:
			return ready()
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, p.said())
	}
	return nil
}

func (p *process) said() string {
	b, _ := os.ReadFile(p.log)
	return string(b[max(0, len(b)-4000):])
}

// stop terminates the process, and kills it after ten seconds.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// freePort returns a free TCP port of the loopback interface.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// patience limits each wait. The longest is a rollout, which waits minReadySeconds for each pod.
const patience = 2 * time.Minute

// over marks an error as permanent: eventually stops retrying.
type over struct{ error }

func (o over) Unwrap() error { return o.error }

// eventually calls f until it returns nil. It returns the last error of f after patience, or when
// the error is permanent.
func eventually(ctx context.Context, f func() error) error {
	deadline := time.After(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var objection error
	for {
		err := f()
		if err == nil {
			return nil
		}
		if objection == nil || ctx.Err() == nil { // an error of a cancelled call explains nothing
			objection = err
		}
		if _, hopeless := err.(over); hopeless {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%v)", objection, context.Cause(ctx))
		case <-deadline:
			return fmt.Errorf("after %v: %w", patience, objection)
		case <-tick.C:
		}
	}
}
