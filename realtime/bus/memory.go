package bus

import (
	"context"
	"slices"
	"sync"
)

// Memory is a Bus for instances in one process, which share one Memory. The zero value is
// ready to use.
type Memory struct {
	mu      sync.Mutex
	members []*member
}

// A member is an instance that listens.
type member struct {
	channels []Channel
	messages chan delivery // never closed
	missed   chan struct{} // a message was dropped; capacity 1; never closed
}

type delivery struct {
	channel Channel
	message string
}

// maxUndelivered is how many messages wait for an instance. More are dropped, which is a gap.
const maxUndelivered = 1024

// Publish implements Bus. It never fails.
func (m *Memory) Publish(_ context.Context, to Channel, message []byte) (instances int, err error) {
	d := delivery{to, string(message)}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, listening := range m.members {
		if !slices.Contains(listening.channels, to) {
			continue
		}
		instances++
		select {
		case listening.messages <- d:
		default:
			select {
			case listening.missed <- struct{}{}:
			default: // it is about to be told
			}
		}
	}
	return instances, nil
}

// Listen implements Bus.
func (m *Memory) Listen(ctx context.Context, l Listener) error {
	this := &member{channels: channels(l.Instance), messages: make(chan delivery, maxUndelivered),
		missed: make(chan struct{}, 1)}
	m.mu.Lock()
	m.members = append(m.members, this)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.members = slices.DeleteFunc(m.members, func(other *member) bool { return other == this })
		m.mu.Unlock()
	}()
	l.Gap()
	for {
		select {
		case d := <-this.messages:
			l.Deliver(d.channel, d.message)
		case <-this.missed:
			l.Gap()
		case <-ctx.Done():
			return nil
		}
	}
}

// Check implements Bus. It returns nil.
func (m *Memory) Check(context.Context) error { return nil }

var _ Bus = (*Memory)(nil)
