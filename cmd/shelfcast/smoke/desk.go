package smoke

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// A desk edits through one address of the admin app.
type desk struct {
	cfg    Config
	base   url.URL
	at     netip.AddrPort
	client http.Client
}

func newDesk(cfg Config, admin *url.URL, at netip.AddrPort) *desk {
	return &desk{cfg: cfg, base: url.URL{Scheme: admin.Scheme, Host: admin.Host}, at: at, client: http.Client{
		Timeout:   cfg.Limit,
		Transport: &http.Transport{DialContext: cfg.dialTo(at), TLSClientConfig: cfg.tls()},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token is for this host
		},
	}}
}

// withProduct calls f with a published product. In a shop that has none it is one
// of its own, which is archived in the end, whatever became of f.
func (d *desk) withProduct(ctx context.Context, f func(rev) error) error {
	defer d.client.CloseIdleConnections()
	var list struct{ Products []rev }
	if err := d.call(ctx, "looking for a product", http.MethodGet, "/products?published=true&limit=1&fields=sku", nil, "", &list); err != nil {
		return err
	}
	if len(list.Products) > 0 {
		return f(list.Products[0])
	}
	d.cfg.Say("the shop has no published product; one is made, and archived again")
	var made rev
	if err := d.call(ctx, "making a product", http.MethodPost, "/products", map[string]any{
		"sku": "shelfcast-smoke-" + strings.ToLower(rand.Text()), "title": "Smoke test", "price": "1", "currency": "EUR", "stock": 0, "published": true,
	}, "", &made); err != nil {
		return err
	}
	err := f(made)
	return errors.Join(err, d.archive(context.WithoutCancel(ctx), made.ID))
}

// archive takes the product that was made out of the shop.
func (d *desk) archive(ctx context.Context, id int64) error {
	path := fmt.Sprintf("/products/%d", id)
	doing := fmt.Sprintf("archiving product %d, which stays in the shop", id)
	var now rev
	if err := d.call(ctx, doing, http.MethodGet, path, nil, "", &now); err != nil {
		return err
	}
	return d.call(ctx, doing, http.MethodPost, path+"/archive", nil, fmt.Sprintf(`"%d"`, now.Version), &now)
}

// refresh gives the product a new version, with nothing of it changed.
func (d *desk) refresh(ctx context.Context, id int64) (rev, error) {
	var out struct{ Refreshed []rev }
	if err := d.call(ctx, "the edit", http.MethodPost, "/products:refresh", map[string]any{"ids": []int64{id}}, "", &out); err != nil {
		return rev{}, err
	}
	if len(out.Refreshed) != 1 {
		return rev{}, fail(NoEdit, "the edit: the admin API at %s has lost product %d, which it had a moment ago", d.at, id)
	}
	return out.Refreshed[0], nil
}

// call makes a call of the admin API and reads its answer.
func (d *desk) call(ctx context.Context, doing, method, path string, body any, ifMatch string, answer any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, d.base.String()+"/api/v1"+path, &text)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+d.cfg.Token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	response, err := d.client.Do(request)
	if err != nil {
		return fail(NoEdit, "%s: %s cannot be reached as the admin app: %w", doing, d.at, err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fail(NoEdit, "%s: the answer of %s broke off: %w", doing, d.at, err)
	}
	if response.StatusCode/100 != 2 {
		return fail(NoEdit, "%s: the admin app at %s answered %d %s: %s", doing, d.at, response.StatusCode, http.StatusText(response.StatusCode), advice(response.StatusCode, said))
	}
	if err := json.Unmarshal(said, answer); err != nil {
		return fail(NoEdit, "%s: what answers at %s is not the admin API: %.80q", doing, d.at, said)
	}
	return nil
}

// advice says what to do about a status; for one that has none, what was said.
func advice(status int, said []byte) string {
	switch status {
	case http.StatusUnauthorized:
		return "it does not take this token: is SHELFCAST_ADMIN_TOKEN the one of the instances, or one of `shelfcast token create` that is still good?"
	case http.StatusForbidden:
		return "the token may not write products: make one with --scope products:write"
	case http.StatusNotFound:
		return "there is no API: is that the admin app of Shelfcast, and not the public one?"
	case http.StatusTooManyRequests:
		return "too many calls of this token, or too many wrong tokens of this address: wait for a minute"
	case http.StatusServiceUnavailable:
		return "its database does not answer: /readyz there says more"
	}
	return fmt.Sprintf("%.200s", said)
}
