package clustertest

import "syscall"

// dieWithUs has the kernel kill a server when the test process ends, even if that crashes.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
