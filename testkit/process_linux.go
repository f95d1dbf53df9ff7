package testkit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dieWithUs makes the kernel kill a server when the test process ends, even if that crashes.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// stopped reports whether all threads of the process are stopped, which takes a moment
// after SIGSTOP.
func stopped(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, task := range tasks {
		stat, err := os.ReadFile(task)
		_, fields, found := bytes.Cut(stat, []byte(") "))
		if err == nil && found && fields[0] != 'T' {
			return false
		}
	}
	return len(tasks) > 0
}
