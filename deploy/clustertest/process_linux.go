package clustertest

import "syscall"

// dieWithUs ends a server when the test's process ends, however that ends.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
