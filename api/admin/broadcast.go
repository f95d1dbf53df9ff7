package admin

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/store"
)

func (r *registry) odoo() {
	register(r, operation{
		id: "broadcast-odoo", method: http.MethodPost, path: "/odoo/broadcasts", tag: "Odoo", scope: store.WriteProducts,
		summary: "Send a message to all open pages of an Odoo 16 storefront",
		description: "Sends what Odoo itself would send on the broadcast channel of its bus, which every page " +
			"subscribes to. The message reaches the pages that are connected to any instance, and is not stored for others. " +
			"After a 503, or without an answer, it may have been sent: a retry may send it twice.",
		request:  map[string]any{"type": "bundle_changed", "payload": map[string]any{"server_version": "16.0-20240621"}},
		response: map[string]any{"instances": 2},
	}, withProblems(r.admin, r.admin.broadcast))
}

// maxBroadcast is the size limit of a broadcast in bytes: each goes to every page.
const maxBroadcast = 64 << 10

type broadcastAnswer struct {
	Body struct {
		Instances int `json:"instances" doc:"Instances that received it"`
	}
}

func (a *App) broadcast(ctx context.Context, in *struct {
	Body struct {
		Type    string         `json:"type" minLength:"1" maxLength:"190" doc:"Type of the notification"`
		Payload map[string]any `json:"payload" nullable:"false" doc:"An object: Odoo's pages fail on anything else"`
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
	out.Body.Instances, err = a.Fleet.Broadcast(ctx, in.Body.Type, payload)
	return out, err
}
