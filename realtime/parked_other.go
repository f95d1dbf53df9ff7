//go:build !linux

package realtime

import (
	"errors"
	"net"
)

// pollers: sessions are parked on Linux only.
type pollers struct{}

func newPollers(*Hub) (*pollers, error) { return nil, errors.ErrUnsupported }

func (*pollers) close() {}

func newParked(*session, net.Conn) (link, error) { return nil, errors.ErrUnsupported }
