//go:build !linux

package realtime

func browse() bool { return false }
