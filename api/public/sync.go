package public

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/tidwall/gjson"

	"shelfcast/api/httpx"
	"shelfcast/api/problem"
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

// sync is POST /product/tree/sync, a JSON-RPC 2.0 call of an Odoo storefront: the current HTML of a product. For a
// product that shoppers may not see, it is the view for unavailable products, for pages that still show it. As with
// Odoo, an error of the call is a 200 with an error in it, and only what is not a call at all is a 400.
func (p *App) sync(c *fiber.Ctx) error {
	if kind, _, _ := strings.Cut(c.Get(fiber.HeaderContentType), ";"); kind != "" &&
		!strings.EqualFold(kind, "application/json") && !strings.EqualFold(kind, "application/json-rpc") {
		return fiber.NewError(fiber.StatusBadRequest, "the body of a call is application/json")
	}
	text, err := httpx.ReadBody(c, "", maxBody)
	if err != nil {
		return err
	}
	// json.Valid limits the depth. gjson's own check would take a stack of 16 MB for a body of brackets.
	if !json.Valid(text) || bytes.TrimLeft(text, " \t\r\n")[0] != '{' {
		return fiber.NewError(fiber.StatusBadRequest, "the body is not the JSON of a call")
	}
	call, product := gjson.GetBytes(text, "id").Raw, gjson.GetBytes(text, "params.product_id").Raw
	id, ok := parseOdooID(product)
	if !ok {
		return sendRPCError(c, call,
			rpcError{-32602, "Invalid params", rpcDetail{"ValueError", "product_id is not the id of a product"}})
	}
	f, err := p.odooIDs.fragment(c.UserContext(), cmp.Or(p.OdooView, render.Card), id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return sendRPCError(c, call,
			rpcError{404, "404: Not Found", rpcDetail{"werkzeug.exceptions.NotFound", store.ErrNotFound.Error()}})
	case err != nil:
		p.Log.Warn("loading a product for an Odoo storefront failed; it will ask again", "odoo_id", id, "error", err)
		c.Status(fiber.StatusServiceUnavailable).Set(fiber.HeaderRetryAfter, strconv.Itoa(problem.RetryAfter))
		return sendRPCError(c, call,
			rpcError{503, "Service Unavailable", rpcDetail{"unavailable", store.ErrUnavailable.Error()}})
	}
	// A thousand browsers ask for this at once, so the answer is put together from what is encoded already.
	answer := c.Response()
	answer.AppendBodyString(`{"jsonrpc":"2.0","id":`)
	answer.AppendBodyString(cmp.Or(call, "null"))
	answer.AppendBodyString(`,"result":{"html":`)
	answer.AppendBody(f.HTMLJSON())
	answer.AppendBodyString(`,"version":`)
	answer.AppendBody(strconv.AppendInt(make([]byte, 0, 20), f.Version, 10))
	answer.AppendBodyString("}}")
	setRPCHeaders(c)
	return nil
}

func sendRPCError(c *fiber.Ctx, id string, failed rpcError) error {
	answer, err := json.Marshal(rpcResponse{"2.0", json.RawMessage(cmp.Or(id, "null")), &failed})
	if err != nil {
		return err
	}
	setRPCHeaders(c)
	return c.Send(answer)
}

func setRPCHeaders(c *fiber.Ctx) {
	c.Context().SetContentType(fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// parseOdooID accepts what Odoo accepts: a number, a number in a string, or true for 1.
func parseOdooID(raw string) (int64, bool) {
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
