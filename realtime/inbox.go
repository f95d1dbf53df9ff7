package realtime

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
)

// An inbox has what comes for the questions of this instance that are open.
type inbox struct {
	mu        sync.Mutex
	questions map[string]chan string // by number
}

// crowd is how many answers an inbox holds that have yet to be read.
const crowd = 1000

// itself stands for the question in the inbox, which has come back.
const itself = ""

func (i *inbox) open() (number string, answers <-chan string) {
	number = rand.Text()
	to := make(chan string, crowd)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.questions[number] = to
	return number, to
}

func (i *inbox) close(number string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.questions, number)
}

// put never blocks. It says whether somebody waits for it.
func (i *inbox) put(number, text string) (wanted bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case i.questions[number] <- text: // not to nil, the channel of a question that is closed
		return true
	default:
		return false
	}
}

// hear takes a question off the channel that brings news too, which is not to
// wait for the counting.
func (b *Bus) hear(message string) {
	if number, _, _ := strings.Cut(message, " "); b.inbox.put(number, itself) {
		return
	}
	select {
	case b.asked <- message:
	default:
		b.drop("busy", message)
	}
}

// hearAnswer takes what comes for this instance.
func (b *Bus) hearAnswer(message string) {
	number, text, _ := strings.Cut(message, " ")
	if text == itself || !b.inbox.put(number, text) {
		b.drop("late", message)
	}
}

// answering answers the questions of others, one after the other.
func (b *Bus) answering(ctx context.Context) error {
	for {
		select {
		case message := <-b.asked:
			b.answer(ctx, message)
		case <-ctx.Done():
			return nil
		}
	}
}
