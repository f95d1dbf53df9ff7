package realtime

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
)

// An inbox receives the replies to the open count requests of this instance.
type inbox struct {
	mu       sync.Mutex
	requests map[string]chan string // by number
}

// maxUnread is how many unread replies an inbox holds for a request.
const maxUnread = 1000

// itself stands for the request itself, which this instance has received.
const itself = ""

func (i *inbox) open() (number string, answers <-chan string) {
	number = rand.Text()
	to := make(chan string, maxUnread)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.requests[number] = to
	return number, to
}

func (i *inbox) close(number string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.requests, number)
}

// put adds a reply and never blocks. It reports whether somebody waits for it.
func (i *inbox) put(number, text string) (wanted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.requests[number] <- text: // not to nil, the channel of a closed request
		return true
	default:
		return false
	}
}

// receiveCountRequest handles a count request. It must not block, because changes arrive over the same
// subscription.
func (f *Fleet) receiveCountRequest(message string) {
	if number, _, _ := strings.Cut(message, " "); f.inbox.put(number, itself) {
		return
	}
	select {
	case f.countRequests <- message:
	default:
		f.drop("busy", message)
	}
}

// receiveCountReply handles a reply to this instance.
func (f *Fleet) receiveCountReply(message string) {
	number, text, _ := strings.Cut(message, " ")
	if text == itself || !f.inbox.put(number, text) {
		f.drop("late", message)
	}
}

// serveCountRequests answers the count requests of other instances one after the other, until ctx
// ends.
func (f *Fleet) serveCountRequests(ctx context.Context) error {
	for {
		select {
		case message := <-f.countRequests:
			f.reply(ctx, message)
		case <-ctx.Done():
			return nil
		}
	}
}
