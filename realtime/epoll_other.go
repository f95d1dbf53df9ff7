//go:build !linux

package realtime

import (
	"errors"
	"net"
)

// pollers exist on Linux only: elsewhere each session has a goroutine.
type pollers struct{}

func newPollers(*Hub) (*pollers, error) { return nil, errors.ErrUnsupported }

func (*pollers) close() {}

func newEpollConn(*session, net.Conn) (connection, error) { return nil, errors.ErrUnsupported }
