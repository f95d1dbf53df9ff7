package api

import (
	"cmp"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What is said to those who ask for many fragments while too many are being
// answered.
var (
	ErrAnswers        = errors.New("this instance gives all the answers that it may give at a time")
	ErrAnswersAddress = errors.New("this address is being given all the answers that it may have at a time")
)

// How many answers of many fragments may be under way, all together and to one
// address. Each has at most a frame full (realtime.FrameBytes) and one fragment.
const (
	mostAnswers        = 1000
	mostAnswersAddress = 100
)

// underWay are the answers with many fragments that are under way: from the request on
// until the last byte is written, which a browser that does not read puts off for
// as long as writeTimeout.
type underWay struct {
	most, mostAddress int
	refused           *prometheus.CounterVec

	// Guarded by mu.
	mu   sync.Mutex
	all  int
	from map[string]int // by addressKey; none is 0
}

func newUnderWay(most, mostAddress int, metrics prometheus.Registerer) *underWay {
	a := &underWay{
		most: cmp.Or(most, mostAnswers), mostAddress: cmp.Or(mostAddress, mostAnswersAddress), from: map[string]int{},
		refused: promauto.With(metrics).NewCounterVec(prometheus.CounterOpts{
			Name: "shelfcast_answers_refused_total",
			Help: "Polls and requests for several fragments refused because too many were being answered: full (all together), address.",
		}, []string{"reason"}),
	}
	a.refused.WithLabelValues("full")
	a.refused.WithLabelValues("address")
	promauto.With(metrics).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "shelfcast_answers_under_way", Help: "Polls and requests for several fragments that are being answered, until the last byte is written.",
	}, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return float64(a.all)
	})
	return a
}

// enter counts one more answer to that address, until leave is called once.
func (a *underWay) enter(from netip.Addr) (leave func(), err error) {
	key := addressKey(from)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.all >= a.most:
		a.refused.WithLabelValues("full").Inc()
		return nil, ErrAnswers
	case a.from[key] >= a.mostAddress:
		a.refused.WithLabelValues("address").Inc()
		return nil, ErrAnswersAddress
	}
	a.all++
	a.from[key]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all--
		if a.from[key]--; a.from[key] == 0 {
			delete(a.from, key)
		}
	}, nil
}

// answer sends what make has, whose parts it shares with the cache: a browser that
// is slow to read costs no copy. Without any parts make has answered itself.
func (p *Public) answer(c *fiber.Ctx, from netip.Addr, make func() (net.Buffers, error)) error {
	leave, err := p.answers.enter(from)
	if err != nil {
		return err
	}
	written := &body{leave: leave}
	sent := false
	defer func() {
		if !sent { // a panic, too
			written.Close()
		}
	}()
	if written.Buffers, err = make(); err != nil || written.Buffers == nil {
		return err
	}
	size := 0
	for _, part := range written.Buffers {
		size += len(part)
	}
	sent = true
	c.Response().SetBodyStream(written, size)
	return nil
}

// A body is closed by the server when it is written, or will never be.
type body struct {
	net.Buffers
	leave func()
}

// Close makes it an io.Closer.
func (b *body) Close() error {
	if b.leave != nil {
		b.leave()
		b.leave = nil
	}
	return nil
}
