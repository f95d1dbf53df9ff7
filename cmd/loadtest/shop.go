package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// A shop is a client of the admin API.
type shop struct {
	at, token string
	client    http.Client
}

type product struct {
	ID        int64 `json:"id"`
	Version   int64 `json:"version"`
	Stock     int   `json:"stock"`
	Published bool  `json:"published"`
}

func (s *shop) call(ctx context.Context, method, path, etag string, body, answer any) (status int, err error) {
	var text io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, err
		}
		text = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.at+path, text)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	if etag != "" {
		r.Header.Set("If-Match", etag)
	}
	response, err := s.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	if response.StatusCode >= 300 {
		return response.StatusCode, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, b)
	}
	return response.StatusCode, json.Unmarshal(b, answer)
}

// all returns the products of the shop, up to a limit.
func (s *shop) all(ctx context.Context, limit int) (found []product, err error) {
	for cursor := ""; ; {
		var page struct {
			Products []product `json:"products"`
			Next     string    `json:"next"`
		}
		path := "/api/v1/products?limit=100&cursor=" + url.QueryEscape(cursor)
		if _, err := s.call(ctx, "GET", path, "", nil, &page); err != nil {
			return nil, err
		}
		found = append(found, page.Products...)
		if cursor = page.Next; cursor == "" || len(found) >= limit {
			return found[:min(limit, len(found))], nil
		}
	}
}

// prepare creates products until the shop has that many.
func (s *shop) prepare(ctx context.Context, want int) error {
	found, err := s.all(ctx, want)
	if err != nil {
		return err
	}
	began := time.Now().UnixMilli()
	for n := len(found); n < want; n++ {
		var made product
		if _, err := s.call(ctx, "POST", "/api/v1/products", "", map[string]any{
			"sku": fmt.Sprintf("load-%d-%d", began, n), "title": fmt.Sprintf("Thing %d", n), "vendor": "Load test",
			"price": fmt.Sprintf("%d.90", n%90+10), "currency": "EUR", "stock": 7, "published": true,
		}, &made); err != nil {
			return err
		}
	}
	return nil
}

// edit changes the stock of a product. After a conflict it tries again with the
// current version.
func (s *shop) edit(ctx context.Context, p *product) error {
	for range 3 {
		var after product
		status, err := s.call(ctx, "PATCH", "/api/v1/products/"+strconv.FormatInt(p.ID, 10),
			`"`+strconv.FormatInt(p.Version, 10)+`"`, map[string]int{"stock": p.Stock%100 + 1}, &after)
		if err == nil {
			*p = after
			return nil
		}
		if status != http.StatusPreconditionFailed {
			return err
		}
		if _, err := s.call(ctx, "GET", "/api/v1/products/"+strconv.FormatInt(p.ID, 10), "", nil, p); err != nil {
			return err
		}
	}
	return fmt.Errorf("product %d is edited by somebody else all the time", p.ID)
}
