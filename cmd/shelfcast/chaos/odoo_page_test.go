package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// An odooPage is a browser with one page of an Odoo 16 storefront open. It behaves
// as Odoo's worker and the shop's script do: one socket, which reconnects by their
// rule, the last id in local storage, and a call for each notified product that the
// page shows. A failed call is not retried, and the rest of its notification is
// dropped.
//
// In one point it is better: it makes its calls one after the other, where the
// script applies answers in the order in which they arrive.
type odooPage struct {
	n      int
	origin string // host:port
	client *http.Client
	jitter func() time.Duration // 0 to 1 s

	mu         sync.Mutex
	cards      map[int64]int64 // product_tmpl_id → version of its HTML
	last       int64           // in local storage
	open       bool
	opened     int
	failed     int // calls
	closes     map[ws.StatusCode]int
	violations []string // of the protocol, by the server
	calls      chan []int64
}

func newOdooPage(n int, origin string, numbers []int64) *odooPage {
	dice := rand.New(rand.NewPCG(uint64(n), 0))
	p := &odooPage{
		n: n, origin: origin, client: &http.Client{Timeout: 8 * time.Second}, cards: map[int64]int64{},
		closes: map[ws.StatusCode]int{},
		jitter: func() time.Duration { return time.Duration(dice.Int64N(int64(time.Second))) },
		calls:  make(chan []int64, 10_000),
	}
	for _, number := range numbers {
		p.cards[number] = 0
	}
	return p
}

// live keeps the page open until ctx ends.
func (p *odooPage) live(ctx context.Context) {
	var calling sync.WaitGroup
	calling.Go(func() {
		for {
			select {
			case batch := <-p.calls:
				p.sync(ctx, batch)
			case <-ctx.Done():
				return
			}
		}
	})
	defer calling.Wait()
	defer p.client.CloseIdleConnections()
	const first, most = time.Second, time.Minute
	delay := first
	for ctx.Err() == nil {
		code, opened := p.connect(ctx)
		if opened {
			delay = first
			p.mu.Lock()
			p.open = false
			p.closes[code]++
			p.mu.Unlock()
		}
		switch code {
		case ws.StatusNormalClosure:
			return // it stays away
		case 4002:
			delay = 0
		}
		delay = min(delay*3/2, most)
		select {
		case <-time.After(delay + p.jitter()):
		case <-ctx.Done():
		}
	}
}

// connect opens one socket and returns its close code when it ends, 1006 for none.
func (p *odooPage) connect(ctx context.Context) (code ws.StatusCode, opened bool) {
	dialer := ws.Dialer{Timeout: 5 * time.Second, Header: ws.HandshakeHeaderHTTP{"Origin": {"http://" + p.origin}}}
	conn, early, _, err := dialer.Dial(ctx, "ws://"+p.origin+"/websocket")
	if err != nil {
		return 1006, false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	if early != nil {
		r = early
	}
	p.mu.Lock()
	p.open = true
	p.opened++
	last := p.last
	p.mu.Unlock()
	lists := []string{`["product_updates"]`}
	if p.n%2 == 1 { // start() was heard before addChannel()
		lists = []string{`[]`, `["product_updates"]`}
	}
	for _, list := range lists {
		said := fmt.Sprintf(`{"event_name":"subscribe","data":{"channels":%s,"last":%d}}`, list, last)
		if err := wsutil.WriteClientText(conn, []byte(said)); err != nil {
			return 1006, true
		}
	}
	presence := []byte(`{"event_name":"update_presence","data":{"inactivity_period":331,"im_status_ids_by_model":{}}}`)
	if err := wsutil.WriteClientText(conn, presence); err != nil {
		return 1006, true
	}
	for {
		h, err := ws.ReadHeader(r)
		if err != nil {
			return 1006, true
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(r, payload); err != nil {
			return 1006, true
		}
		switch h.OpCode {
		case ws.OpPing:
			err = wsutil.WriteClientMessage(conn, ws.OpPong, payload)
		case ws.OpClose:
			code, _ := ws.ParseCloseFrameData(payload)
			_ = ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(payload)))
			return code, true
		case ws.OpText:
			p.receive(payload)
		case ws.OpBinary:
			p.violation("a binary frame")
		}
		if err != nil {
			return 1006, true
		}
	}
}

func (p *odooPage) violation(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.violations = append(p.violations, what)
}

// receive handles a frame of notifications.
func (p *odooPage) receive(text []byte) {
	var all []struct {
		ID      int64
		Message struct {
			Payload *struct {
				Product int64 `json:"product_tmpl_id"`
			}
		}
	}
	if err := json.Unmarshal(text, &all); err != nil || len(all) == 0 {
		p.violation(fmt.Sprintf("a frame that is no list: %s", text))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var batch []int64
	before := int64(0)
	for _, n := range all {
		if n.ID <= before || n.ID <= p.last && before == 0 {
			p.violations = append(p.violations, fmt.Sprintf("id %d after %d", n.ID, max(before, p.last)))
		}
		before = n.ID
		if n.Message.Payload == nil {
			p.violations = append(p.violations, fmt.Sprintf("a payload that is no object: %s", text))
			continue
		}
		if _, shown := p.cards[n.Message.Payload.Product]; shown {
			batch = append(batch, n.Message.Payload.Product)
		}
	}
	p.last = before
	p.calls <- batch
}

var versionOf = regexp.MustCompile(`data-product-version="(\d+)"`)

// sync requests each product in turn, and shows the answers on the page.
func (p *odooPage) sync(ctx context.Context, batch []int64) {
	for _, number := range batch {
		version, err := p.ask(ctx, number)
		p.mu.Lock()
		if err != nil && ctx.Err() == nil {
			p.failed++
		}
		if err == nil {
			p.cards[number] = version
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *odooPage) ask(ctx context.Context, number int64) (version int64, err error) {
	body := fmt.Appendf(nil, `{"id":0,"jsonrpc":"2.0","method":"call","params":{"product_id":%d}}`, number)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.origin+"/product/tree/sync",
		bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Result *struct{ HTML string }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Result == nil {
		return 0, errors.New("no result")
	}
	found := versionOf.FindStringSubmatch(answer.Result.HTML)
	if found == nil {
		return 0, fmt.Errorf("no version in %s", answer.Result.HTML)
	}
	return strconv.ParseInt(found[1], 10, 64)
}

// load is the page as Odoo first renders it, with the current versions.
func (p *odooPage) load(ctx context.Context) {
	p.mu.Lock()
	var numbers []int64
	for number := range p.cards {
		numbers = append(numbers, number)
	}
	p.mu.Unlock()
	slices.Sort(numbers)
	p.sync(ctx, numbers)
}
