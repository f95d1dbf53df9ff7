package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// subprotocol is what pages speak, and card the view that every shop has.
const (
	subprotocol = "shelfcast.v1"
	card        = "card"
)

// rev is a product and its version.
type rev struct {
	ID      int64 `json:"id"`
	Version int64 `json:"version"`
}

// A page is a session that shows one product.
type page struct {
	at    netip.AddrPort
	limit time.Duration
	conn  net.Conn
	from  io.Reader // conn, after what came with the answer to the handshake
}

// frame is what an instance says, as far as it matters here.
type frame struct {
	Fragments []struct {
		rev
		HTML string `json:"html"`
	}
	Pong  *int64
	Error *struct {
		Code, Message string
	}
}

// open makes the handshake with one address of the public app.
func (cfg Config) open(ctx context.Context, public *url.URL, at netip.AddrPort) (*page, error) {
	live := *public
	live.Scheme = map[string]string{"http": "ws", "https": "wss"}[public.Scheme]
	live.Path, live.RawQuery = "/live", ""
	dialer := ws.Dialer{Protocols: []string{subprotocol}, Timeout: cfg.Limit, NetDial: cfg.dialTo(at), TLSConfig: cfg.tls()}
	conn, early, _, err := dialer.Dial(ctx, live.String())
	if status, ok := errors.AsType[ws.StatusError](err); ok {
		return nil, fail(NoPage, "%s takes no session: %s", at, refusal(int(status)))
	}
	if err != nil {
		return nil, fail(NoPage, "%s cannot be reached as the public app: %w", at, err)
	}
	p := &page{at: at, limit: cfg.Limit, conn: conn, from: conn}
	if early != nil {
		p.from = early // it reads on from conn
	}
	return p, nil
}

// refusal says what the status of a handshake that failed means.
func refusal(status int) string {
	why := map[int]string{
		http.StatusForbidden:          "the origin, or who asks, is refused: by --origins, or by a proxy in between",
		http.StatusNotFound:           "there is no /live: is that the public app of Shelfcast?",
		http.StatusTooManyRequests:    "too many sessions are of this address (--max-sessions-per-address, --join-rate-per-address): if it is a proxy's, name it in --trusted-proxies",
		http.StatusServiceUnavailable: "it is draining, or full (--max-sessions, --join-rate): /readyz on its admin app says which",
		http.StatusUpgradeRequired:    "the request came without its Upgrade header: a proxy in between does not pass WebSockets on",
	}[status]
	if why == "" {
		why = "a proxy in between answers for it, or it is no Shelfcast"
	}
	return fmt.Sprintf("%d %s: %s", status, http.StatusText(status), why)
}

// watch says what the page shows, and waits until the instance has taken it in:
// it answers what it is asked in order.
func (p *page) watch(seen rev) error {
	const mark = 1
	p.conn.SetDeadline(time.Now().Add(p.limit))
	says, err := json.Marshal(map[string]any{"watch": []any{map[string]any{"id": seen.ID, "version": seen.Version, "view": card}}, "ping": mark})
	if err != nil {
		return err
	}
	if err := wsutil.WriteClientText(p.conn, says); err != nil {
		return p.lost(err, "what it watches could not be said")
	}
	for {
		f, err := p.next()
		if err != nil {
			return p.lost(err, "what it watches was not answered")
		}
		if err := p.refused(f, seen); err != nil {
			return err
		}
		if f.Pong != nil && *f.Pong == mark {
			return nil
		}
	}
}

// await waits for the fragment of that version. A newer one, when somebody else
// edits the product just now, says as much.
func (p *page) await(made rev, desk netip.AddrPort) error {
	p.conn.SetDeadline(time.Now().Add(p.limit))
	for {
		f, err := p.next()
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return fail(Stale, "the page at %s was not sent version %d of product %d within %v, though %s took the edit: edits do not reach that instance. Both have to be on one database and one Redis; /readyz and /metrics (shelfcast_bus_age_seconds, shelfcast_feed_age_seconds) of its admin app say what it lacks",
				p.at, made.Version, made.ID, p.limit, desk)
		}
		if err != nil {
			return p.lost(err, "it waited for an edit")
		}
		if err := p.refused(f, made); err != nil {
			return err
		}
		for _, one := range f.Fragments {
			if one.ID == made.ID && one.Version >= made.Version && one.HTML != "" {
				return nil
			}
		}
	}
}

// next is the next frame. Pings are answered on the way.
func (p *page) next() (f frame, err error) {
	from := wsutil.Reader{Source: p.from, State: ws.StateClientSide, CheckUTF8: true, OnIntermediate: p.control}
	for {
		head, err := from.NextFrame()
		if err != nil {
			return f, err
		}
		if head.OpCode.IsControl() {
			if err := p.control(head, &from); err != nil {
				return f, err
			}
			continue
		}
		text, err := io.ReadAll(&from)
		if err != nil {
			return f, err
		}
		if err := json.Unmarshal(text, &f); err != nil {
			return f, fmt.Errorf("it said something that is no frame of %s: %.80q", subprotocol, text)
		}
		return f, nil
	}
}

// A closing is a close frame: the library's own reading of it knows no 1012.
type closing struct {
	code   ws.StatusCode
	reason string
}

func (c *closing) Error() string { return fmt.Sprintf("%d %s", c.code, c.reason) }

// control takes a ping, a pong or a close frame.
func (p *page) control(head ws.Header, from io.Reader) error {
	said := make([]byte, head.Length)
	if _, err := io.ReadFull(from, said); err != nil {
		return err
	}
	switch head.OpCode {
	case ws.OpPing:
		return wsutil.WriteClientMessage(p.conn, ws.OpPong, said)
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData(said)
		return &closing{code, reason}
	}
	return nil
}

// refused is the error that the instance has said.
func (p *page) refused(f frame, seen rev) error {
	switch {
	case f.Error == nil:
		return nil
	case f.Error.Code == "unknown_product":
		return fail(Ended, "the instance at %s knows no product %d, which the admin API has: the two are not on the same database", p.at, seen.ID)
	}
	return fail(Ended, "the instance at %s said %s: %s", p.at, f.Error.Code, f.Error.Message)
}

// lost is why a session is no more.
func (p *page) lost(err error, doing string) error {
	if closed, ok := errors.AsType[*closing](err); ok {
		why := ""
		if closed.code == 1012 { // service restart
			why = ": it is being restarted, so try again"
		}
		return fail(Ended, "the instance at %s closed the session while %s: %w%s", p.at, doing, closed, why)
	}
	return fail(Ended, "the session at %s was lost while %s: %w", p.at, doing, err)
}
