package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"shelfcast/render"
	"shelfcast/store"
)

// rpcRequest is a call as an Odoo storefront sends it: JSON-RPC 2.0.
type rpcRequest struct {
	ID     json.RawMessage `json:"id"`
	Params struct {
		ProductID json.RawMessage `json:"product_id"`
	} `json:"params"`
}

type rpcResponse struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  *rpcResult      `json:"result,omitempty"`
	Error   *rpcError       `json:"error,omitempty"`
}

type rpcResult struct {
	HTML    string `json:"html"`
	Version int64  `json:"version"`
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

// sync is POST /product/tree/sync: the card of a product as it is now. As with
// Odoo, an error of the call is a 200 with an error in it, and only what is no
// call at all is a 400.
func (p *Public) sync(c *fiber.Ctx) error {
	var request rpcRequest
	if err := json.Unmarshal(c.Body(), &request); err != nil {
		return fiber.NewError(fiber.StatusBadRequest, "invalid JSON-RPC: "+err.Error())
	}
	response := rpcResponse{JSONRPC: "2.0", ID: request.ID}
	if response.ID == nil {
		response.ID = json.RawMessage("null")
	}
	id, ok := looseID(request.Params.ProductID)
	if !ok {
		response.Error = &rpcError{-32602, "Invalid params", rpcDetail{"ValueError", "product_id is not the id of a product"}}
		return writeRPC(c, response)
	}
	f, err := p.Cache.Fragment(c.UserContext(), render.Card, store.Rev{ID: id})
	switch {
	case errors.Is(err, store.ErrNotFound):
		response.Error = &rpcError{404, "404: Not Found", rpcDetail{"werkzeug.exceptions.NotFound", store.ErrNotFound.Error()}}
	case err != nil:
		p.Log.Warn("sync", "product", id, "error", err)
		c.Status(fiber.StatusServiceUnavailable).Set(fiber.HeaderRetryAfter, strconv.Itoa(retryAfter))
		response.Error = &rpcError{503, "Service Unavailable", rpcDetail{"unavailable", store.ErrUnavailable.Error()}}
	default:
		response.Result = &rpcResult{HTML: f.HTML, Version: f.Version}
	}
	return writeRPC(c, response)
}

func writeRPC(c *fiber.Ctx, response rpcResponse) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(response); err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Send(bytes.TrimSpace(body.Bytes()))
}

// looseID takes a number, or a number in a string, as Odoo does.
func looseID(raw json.RawMessage) (int64, bool) {
	text := strings.TrimSpace(strings.Trim(string(raw), `"`))
	if id, err := strconv.ParseInt(text, 10, 64); err == nil {
		return id, id > 0
	}
	f, err := strconv.ParseFloat(string(raw), 64) // 9.7 is 9
	return int64(f), err == nil && f >= 1 && f < 1<<53
}
