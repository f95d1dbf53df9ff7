package realtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrBus: Redis did not take what was to be told to all instances.
var ErrBus = errors.New("the other instances cannot be told just now")

// A broadcast goes to all sessions of the Odoo wire that there are, on all
// instances.
type broadcast struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"` // an object
}

// Broadcast tells all sessions of the Odoo wire, through Redis, and says how many
// instances were told. Nothing is kept: who is away does not hear it. Errors:
// ErrBus; then it may have been told all the same.
func (b *Bus) Broadcast(ctx context.Context, name string, payload json.RawMessage) (instances int, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	told, err := b.publishTo(ctx, broadcasts, encode(broadcast{name, payload}))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBus, err)
	}
	return int(told), nil
}

// hearBroadcast takes one off the channel; this instance's own comes there too.
func (b *Bus) hearBroadcast(message string) {
	var said broadcast
	if err := json.Unmarshal([]byte(message), &said); err != nil || b.hub.Broadcast(said.Type, said.Payload) != nil {
		b.garbage(message)
	}
}
