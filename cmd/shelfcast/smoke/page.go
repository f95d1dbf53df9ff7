package smoke

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gobwas/ws"

	"shelfcast/internal/liveclient"
	"shelfcast/store"
)

// card is a view that every shop has.
const card = "card"

// A page is a session that shows one product.
type page struct {
	at    netip.AddrPort
	limit time.Duration
	conn  *liveclient.Conn
}

// open opens a session at one address of the public app.
func (cfg Config) open(ctx context.Context, public *url.URL, at netip.AddrPort) (*page, error) {
	live := *public
	live.Scheme = map[string]string{"http": "ws", "https": "wss"}[public.Scheme]
	live.Path, live.RawQuery = "/live", ""
	dialer := ws.Dialer{Timeout: cfg.Limit, NetDial: cfg.dialTo(at), TLSConfig: cfg.tls()}
	conn, err := liveclient.Dial(ctx, dialer, live.String())
	if status, ok := errors.AsType[ws.StatusError](err); ok {
		return nil, fail(NoPage, "%s refuses the session: %s", at, refusal(int(status)))
	}
	if err != nil {
		return nil, fail(NoPage, "%s cannot be reached as the public app: %w", at, err)
	}
	return &page{at, cfg.Limit, conn}, nil
}

// refusal explains the status of a refused handshake.
func refusal(status int) string {
	why := map[int]string{
		http.StatusForbidden: "the origin or the client is refused, by --origins or by a proxy in between",
		http.StatusNotFound:  "it has no /live: is it the public app of Shelfcast?",
		http.StatusTooManyRequests: "this address has too many sessions (--max-sessions-per-address, " +
			"--new-sessions-per-second-per-address); if it is a proxy's, add it to --trusted-proxies",
		http.StatusServiceUnavailable: "it is draining, or full (--max-sessions, " +
			"--new-sessions-per-second): /readyz on its admin app says which",
		http.StatusUpgradeRequired: "the request arrived without its Upgrade header: a " +
			"proxy in between does not pass WebSockets on",
	}[status]
	if why == "" {
		why = "a proxy in between responds, or it is not Shelfcast"
	}
	return fmt.Sprintf("%d %s: %s", status, http.StatusText(status), why)
}

// watch sends the instance the product that the page shows, and returns when the instance
// has processed that.
func (p *page) watch(shown store.Rev) error {
	const ping = 1
	p.conn.SetDeadline(time.Now().Add(p.limit))
	if err := p.conn.WatchAndPing(ping, card, shown); err != nil {
		return p.lost(err, "the watch was being sent")
	}
	for {
		f, err := p.conn.Next()
		if err != nil {
			return p.lost(err, "the page waited for the answer to its watch")
		}
		if err := p.refused(f, shown); err != nil {
			return err
		}
		if f.Pong != nil && *f.Pong == ping {
			return nil
		}
	}
}

// await waits for the fragment of that version. A newer one counts too: there
// may be a concurrent edit. admin is the address that accepted the edit.
func (p *page) await(edited store.Rev, admin netip.AddrPort) error {
	p.conn.SetDeadline(time.Now().Add(p.limit))
	for {
		f, err := p.conn.Next()
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return fail(Stale,
				"the page at %s did not receive version %d of product %d within %v, "+
					"although %s accepted the edit: edits do not reach "+
					"that instance. Both have to use the same database and Redis; /readyz and /metrics "+
					"(shelfcast_bus_probe_age_seconds, shelfcast_feed_age_seconds) of its admin app say what is missing",
				p.at, edited.Version, edited.ID, p.limit, admin)
		}
		if err != nil {
			return p.lost(err, "the page waited for an edit")
		}
		if err := p.refused(f, edited); err != nil {
			return err
		}
		for _, one := range f.Fragments {
			if one.ID == edited.ID && one.Version >= edited.Version && one.HTML != "" {
				return nil
			}
		}
	}
}

// refused returns the error in a frame, if it has one.
func (p *page) refused(f liveclient.Frame, shown store.Rev) error {
	switch {
	case f.Error == nil:
		return nil
	case f.Error.Code == "unknown_product":
		return fail(Ended,
			"the instance at %s does not have product %d, which the admin API returned: they use different databases",
			p.at, shown.ID)
	}
	return fail(Ended, "the instance at %s answered %s: %s", p.at, f.Error.Code, f.Error.Message)
}

// lost returns the error for a session that ended.
func (p *page) lost(err error, during string) error {
	if closed, ok := errors.AsType[*liveclient.Closed](err); ok {
		why := ""
		if closed.Code == 1012 { // service restart
			why = ": it is being restarted, so try again"
		}
		return fail(Ended, "the instance at %s closed the session while %s: %w%s", p.at, during, closed, why)
	}
	return fail(Ended, "the session at %s was lost while %s: %w", p.at, during, err)
}
