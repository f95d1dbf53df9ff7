package api

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

func (b *book) odoo() {
	register(b, entry{
		id: "broadcast-odoo", method: http.MethodPost, path: "/odoo/broadcasts", tag: "Odoo", scope: store.WriteProducts,
		summary: "Tell all open pages of an Odoo 16 storefront",
		description: "What Odoo itself would send on the channel broadcast of its bus, to which every page listens. It is told to the pages that are connected, on all instances, and kept for no other. " +
			"If there is no answer, or a 503, it may have been told: a second call tells it twice.",
		request: map[string]any{"type": "bundle_changed", "payload": map[string]any{"server_version": "16.0-20240621"}}, response: map[string]any{"instances": 2},
	}, answers(b.admin, b.admin.broadcast))
}

// maxBroadcast is in bytes: each goes to every page.
const maxBroadcast = 64 << 10

type broadcastAnswer struct {
	Body struct {
		Instances int `json:"instances" doc:"That were told"`
	}
}

func (a *Admin) broadcast(ctx context.Context, in *struct {
	Body struct {
		Type    string         `json:"type" minLength:"1" maxLength:"190" doc:"As its listeners know it"`
		Payload map[string]any `json:"payload" nullable:"false" doc:"An object: pages of Odoo break on anything else"`
	}
}) (*broadcastAnswer, error) {
	if in.Body.Payload == nil {
		return nil, huma.Error422UnprocessableEntity("payload is not an object")
	}
	payload, err := json.Marshal(in.Body.Payload)
	if err != nil {
		return nil, err
	}
	if len(payload) > maxBroadcast {
		return nil, huma.Error422UnprocessableEntity("payload has more than 64 KiB")
	}
	out := &broadcastAnswer{}
	out.Body.Instances, err = a.Bus.Broadcast(ctx, in.Body.Type, payload)
	return out, err
}
