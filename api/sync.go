package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/tidwall/gjson"

	"shelfcast/render"
	"shelfcast/store"
)

type rpcResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Error   *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Data    rpcDetail `json:"data"` // Odoo's client reads data.name of every error
}

type rpcDetail struct {
	Name    string `json:"name"`
	Message string `json:"message"`
}

// sync is POST /product/tree/sync, a call as an Odoo storefront makes it (JSON-RPC
// 2.0): the HTML of a product as it is now. Of one that shoppers may not see it is
// the HTML that says so, for the page that still shows it. As with Odoo, an error of the call is
// a 200 with an error in it, and only what is no call at all is a 400.
func (p *Public) sync(c *fiber.Ctx) error {
	if kind, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";"); kind != "" && !strings.EqualFold(kind, "application/json") && !strings.EqualFold(kind, "application/json-rpc") {
		return fiber.NewError(fiber.StatusBadRequest, "the body of a call is application/json")
	}
	body := c.Body()
	if !gjson.ValidBytes(body) || bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return fiber.NewError(fiber.StatusBadRequest, "the body is not the JSON of a call")
	}
	call := gjson.GetManyBytes(body, "id", "params.product_id")
	id, ok := looseID(json.RawMessage(call[1].Raw))
	if !ok {
		return failRPC(c, call[0].Raw, rpcError{-32602, "Invalid params", rpcDetail{"ValueError", "product_id is not the id of a product"}})
	}
	f, err := p.numbers.fragment(c.UserContext(), cmp.Or(p.OdooView, render.Card), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return failRPC(c, call[0].Raw, rpcError{404, "404: Not Found", rpcDetail{"werkzeug.exceptions.NotFound", store.ErrNotFound.Error()}})
	case err != nil:
		p.Log.Warn("sync", "product", id, "error", err)
		c.Status(fiber.StatusServiceUnavailable).Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
		return failRPC(c, call[0].Raw, rpcError{503, "Service Unavailable", rpcDetail{"unavailable", store.ErrUnavailable.Error()}})
	}
	// A thousand browsers ask for this at once, so it is put together of what is
	// encoded already.
	html := f.HTMLJSON()
	answer := make([]byte, 0, len(html)+len(call[0].Raw)+96)
	answer = append(answer, `{"jsonrpc":"2.0","id":`...)
	answer = append(answer, cmp.Or(call[0].Raw, "null")...)
	answer = append(answer, `,"result":{"html":`...)
	answer = append(answer, html...)
	answer = append(answer, `,"version":`...)
	answer = strconv.AppendInt(answer, f.Version, 10)
	answer = append(answer, "}}"...)
	return sendRPC(c, answer)
}

func failRPC(c *fiber.Ctx, id string, failed rpcError) error {
	answer, err := json.Marshal(rpcResponse{"2.0", json.RawMessage(cmp.Or(id, "null")), &failed})
	if err != nil {
		return err
	}
	return sendRPC(c, answer)
}

func sendRPC(c *fiber.Ctx, answer []byte) error {
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Response().SetBodyRaw(answer)
	return nil
}

// looseID takes a number, or a number in a string, or true for 1, as Odoo does.
func looseID(raw json.RawMessage) (int64, bool) {
	if string(raw) == "true" {
		return 1, true
	}
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id, id > 0
	}
	f, err := strconv.ParseFloat(string(raw), 64) // 9.7 is 9
	return int64(f), err == nil && f >= 1 && f < 1<<53
}
