package storetest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dieWithUs ends a server when the test's process ends, however that ends.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// stopped: no thread of the process runs any more, some time after SIGSTOP.
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
