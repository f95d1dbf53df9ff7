//go:build !linux

package storetest

import "syscall"

// dieWithUs has no such means here: a server outlives a test that crashes.
func dieWithUs() *syscall.SysProcAttr { return nil }

// stopped is taken for granted here.
func stopped(int) bool { return true }
