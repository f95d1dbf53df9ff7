// Package bus carries messages between the instances of a shop. It does not know what they
// mean.
//
// To add a bus, implement Bus in a file of its own, add it to contract in contract_test.go,
// and make it in server.New, or pass it to that in the Options. Register newMetrics, which
// alerts depend on.
package bus

import "context"

// A Bus carries messages between the instances of a shop. Delivery is at most once: messages
// may be lost, and whoever depends on them needs another way to find what they said. Its
// methods may be called concurrently.
type Bus interface {
	// Publish sends a message to every instance that listens to the channel, including this
	// one. It returns how many these are, after the bus has accepted the message. After an
	// error the message may have been sent all the same.
	Publish(ctx context.Context, to Channel, message []byte) (instances int, err error)

	// Listen delivers messages until ctx ends, and then returns nil. While the bus cannot be
	// reached it tries again. Call it once for each instance.
	Listen(ctx context.Context, l Listener) error

	// Check returns an error if messages that are published now would not arrive here.
	Check(ctx context.Context) error
}

// A Listener receives the messages for one instance. Its functions are called one at a time,
// and must not block.
type Listener struct {
	// Instance is the name of the instance, whose Inbox is listened to as well as the channels
	// of all instances.
	Instance string
	// Gap is called when messages from before may have been missed: once the bus listens for
	// the first time, and each time that it does so again.
	Gap func()
	// Deliver is called with each message. Messages of one publisher on one channel arrive in
	// the order in which they were published.
	Deliver func(from Channel, message string)
}

// A Channel has one kind of message.
type Channel string

// The channels that all instances listen to.
const (
	Changes       Channel = "changes"       // versions of products; other programs may publish here as well
	CountRequests Channel = "watcher-count" // requests for the number of pages that show some products
	Broadcasts    Channel = "broadcast"     // messages to all pages of an Odoo shop
)

// Inbox returns the channel that only the instance of that name listens to.
func Inbox(instance string) Channel { return Channel("inbox:" + instance) }

// channels returns the channels that an instance listens to.
func channels(instance string) []Channel {
	return []Channel{Changes, CountRequests, Broadcasts, Inbox(instance)}
}
