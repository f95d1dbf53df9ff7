package api

import (
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
	text, err := readBody(c, "", maxPublicBody)
	if err != nil {
		return err
	}
	body := string(text)
	// json.Valid has a limit of depth; gjson's own check would take a stack of 16 MB
	// for a body of brackets.
	if !json.Valid(text) || strings.TrimLeft(body, " \t\r\n")[0] != '{' {
		return fiber.NewError(fiber.StatusBadRequest, "the body is not the JSON of a call")
	}
	call, product := gjson.Get(body, "id").Raw, gjson.Get(body, "params.product_id").Raw
	id, ok := looseID(product)
	if !ok {
		return failRPC(c, call, rpcError{-32602, "Invalid params", rpcDetail{"ValueError", "product_id is not the id of a product"}})
	}
	f, err := p.numbers.fragment(c.UserContext(), cmp.Or(p.OdooView, render.Card), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return failRPC(c, call, rpcError{404, "404: Not Found", rpcDetail{"werkzeug.exceptions.NotFound", store.ErrNotFound.Error()}})
	case err != nil:
		p.Log.Warn("sync", "product", id, "error", err)
		c.Status(fiber.StatusServiceUnavailable).Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
		return failRPC(c, call, rpcError{503, "Service Unavailable", rpcDetail{"unavailable", store.ErrUnavailable.Error()}})
	}
	// A thousand browsers ask for this at once, so it is put together of what is
	// encoded already.
	answer := c.Response()
	answer.AppendBodyString(`{"jsonrpc":"2.0","id":`)
	answer.AppendBodyString(cmp.Or(call, "null"))
	answer.AppendBodyString(`,"result":{"html":`)
	answer.AppendBody(f.HTMLJSON())
	answer.AppendBodyString(`,"version":`)
	answer.AppendBody(strconv.AppendInt(make([]byte, 0, 20), f.Version, 10))
	answer.AppendBodyString("}}")
	headRPC(c)
	return nil
}

func failRPC(c *fiber.Ctx, id string, failed rpcError) error {
	answer, err := json.Marshal(rpcResponse{"2.0", json.RawMessage(cmp.Or(id, "null")), &failed})
	if err != nil {
		return err
	}
	headRPC(c)
	return c.Send(answer)
}

func headRPC(c *fiber.Ctx) {
	c.Context().SetContentType(fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// looseID takes a number, or a number in a string, or true for 1, as Odoo does.
func looseID(raw string) (int64, bool) {
	if raw == "true" {
		return 1, true
	}
	text := strings.TrimSpace(strings.Trim(raw, `"`))
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id, id > 0
	}
	f, err := strconv.ParseFloat(raw, 64) // 9.7 is 9
	return int64(f), err == nil && f >= 1 && f < 1<<53
}
