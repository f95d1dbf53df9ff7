//go:build !linux

package clustertest

import "syscall"

// dieWithUs has no such means here: a server outlives a test that crashes.
func dieWithUs() *syscall.SysProcAttr { return nil }
