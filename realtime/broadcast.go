package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"shelfcast/realtime/bus"
)

// ErrBus means that the bus did not accept a message to all instances.
var ErrBus = errors.New("the message bus is unavailable")

// A broadcast goes to all sessions of the Odoo protocol, on all instances.
type broadcast struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"` // an object
}

// Broadcast sends a message to all sessions of the Odoo protocol, on all instances, and
// returns how many instances these are. It is not kept for sessions that connect later. The
// error is ErrBus; the message may have been sent all the same.
func (f *Fleet) Broadcast(ctx context.Context, name string, payload json.RawMessage) (instances int, err error) {
	ctx, cancel := context.WithTimeout(ctx, f.cfg.Timeout)
	defer cancel()
	instances, err = f.bus.Publish(ctx, bus.Broadcasts, encode(broadcast{name, payload}))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBus, err)
	}
	return instances, nil
}

// receiveBroadcast sends a broadcast to the sessions of this instance, which may be the one
// that published it.
func (f *Fleet) receiveBroadcast(message string) {
	var b broadcast
	if err := json.Unmarshal([]byte(message), &b); err != nil || f.hub.Broadcast(b.Type, b.Payload) != nil {
		f.dropInvalid(message)
	}
}
