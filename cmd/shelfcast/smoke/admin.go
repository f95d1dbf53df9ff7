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

	"shelfcast/store"
)

// An adminClient calls the admin API through one address of the admin app.
type adminClient struct {
	cfg    Config
	base   url.URL
	at     netip.AddrPort
	client http.Client
}

func newAdminClient(cfg Config, admin *url.URL, at netip.AddrPort) *adminClient {
	return &adminClient{cfg: cfg, base: url.URL{Scheme: admin.Scheme, Host: admin.Host}, at: at, client: http.Client{
		Timeout:   cfg.Limit,
		Transport: &http.Transport{DialContext: cfg.dialTo(at), TLSClientConfig: cfg.tls()},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the token is for this host
		},
	}}
}

// withProduct calls f with a published product. In a shop without one it creates
// one, and archives it in the end, also if f fails.
func (c *adminClient) withProduct(ctx context.Context, f func(store.Rev) error) error {
	defer c.client.CloseIdleConnections()
	var list struct{ Products []store.Rev }
	if err := c.call(ctx, "looking for a product", http.MethodGet, "/products?published=true&limit=1&fields=sku", nil,
		"", &list); err != nil {
		return err
	}
	if len(list.Products) > 0 {
		return f(list.Products[0])
	}
	c.cfg.Progress("the shop has no published product: creating one, which is archived afterwards")
	var created store.Rev
	if err := c.call(ctx, "creating a product", http.MethodPost, "/products", map[string]any{
		"sku": "shelfcast-smoke-" + strings.ToLower(rand.Text()), "title": "Smoke test", "price": "1", "currency": "EUR",
		"stock": 0, "published": true,
	}, "", &created); err != nil {
		return err
	}
	err := f(created)
	return errors.Join(err, c.archive(context.WithoutCancel(ctx), created.ID))
}

// archive archives the product that withProduct created.
func (c *adminClient) archive(ctx context.Context, id int64) error {
	path := fmt.Sprintf("/products/%d", id)
	doing := fmt.Sprintf("archiving product %d, which is still in the shop", id)
	var now store.Rev
	if err := c.call(ctx, doing, http.MethodGet, path, nil, "", &now); err != nil {
		return err
	}
	return c.call(ctx, doing, http.MethodPost, path+"/archive", nil, fmt.Sprintf(`"%d"`, now.Version), &now)
}

// refresh gives the product a new version, without changing its fields.
func (c *adminClient) refresh(ctx context.Context, id int64) (store.Rev, error) {
	var out struct{ Refreshed []store.Rev }
	if err := c.call(ctx, "the edit", http.MethodPost, "/products:refresh", map[string]any{"ids": []int64{id}},
		"", &out); err != nil {
		return store.Rev{}, err
	}
	if len(out.Refreshed) != 1 {
		return store.Rev{}, fail(NoEdit,
			"the edit: the admin API at %s no longer has product %d, which it returned a moment ago", c.at, id)
	}
	return out.Refreshed[0], nil
}

// call calls the admin API and decodes its response. doing describes the call in errors.
func (c *adminClient) call(ctx context.Context, doing, method, path string,
	body any, ifMatch string, answer any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/api/v1"+path, &text)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.cfg.Token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return fail(NoEdit, "%s: %s cannot be reached as the admin app: %w", doing, c.at, err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fail(NoEdit, "%s: the response of %s was interrupted: %w", doing, c.at, err)
	}
	if response.StatusCode/100 != 2 {
		return fail(NoEdit, "%s: the admin app at %s answered %d %s: %s",
			doing, c.at, response.StatusCode, http.StatusText(response.StatusCode), advice(response.StatusCode, said))
	}
	if err := json.Unmarshal(said, answer); err != nil {
		return fail(NoEdit, "%s: %s is not the admin API: it responded %.80q", doing, c.at, said)
	}
	return nil
}

// advice returns what to do about a status; without advice it returns the answer.
func advice(status int, said []byte) string {
	switch status {
	case http.StatusUnauthorized:
		return "it rejects this token: is SHELFCAST_ADMIN_TOKEN that of the instances, " +
			"or one of `shelfcast token create` that is neither expired nor revoked?"
	case http.StatusForbidden:
		return "the token lacks the scope products:write: create one with --scope products:write"
	case http.StatusNotFound:
		return "it has no API: is it the admin app of Shelfcast, or the public one?"
	case http.StatusTooManyRequests:
		return "too many calls with this token, or too many invalid tokens from this address: wait a minute"
	case http.StatusServiceUnavailable:
		return "its database is unavailable: see its /readyz"
	}
	return fmt.Sprintf("%.200s", said)
}
