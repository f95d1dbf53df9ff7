package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"shelfcast/api/auth"
	"shelfcast/store"
)

func (r *registry) tokens() {
	const tag = "Tokens"
	registerWrite(r, operation{
		id: "create-token", method: http.MethodPost, path: "/tokens",
		tag: tag, scope: store.AdminTokens, status: http.StatusCreated,
		summary: "Create a token",
		description: "The secret is in this response only and is not stored; a replayed response has no secret. " +
			"A caller with the scope tokens:admin may create tokens with any scope.",
		request: exampleNewToken, response: exampleMadeToken,
	}, r.admin.createToken)
	registerRead(r, operation{
		id: "list-tokens", method: http.MethodGet, path: "/tokens", tag: tag, scope: store.AdminTokens,
		summary: "List tokens, newest first", description: "Includes expired and revoked tokens.", response: exampleTokens,
	}, r.admin.listTokens)
	registerWrite(r, operation{
		id: "revoke-token", method: http.MethodDelete, path: "/tokens/{id}", tag: tag, scope: store.AdminTokens,
		summary:     "Revoke a token",
		description: "All instances reject it within 5 s. Revoking a revoked token changes nothing.",
		errors:      []int{http.StatusNotFound}, response: exampleRevoked,
	}, r.admin.revokeToken)
	registerRead(r, operation{
		id: "whoami", method: http.MethodGet, path: "/caller", tag: tag, scope: anyToken,
		summary: "Show the caller and its scopes", response: exampleCaller,
	}, r.admin.whoami)
}

// A scope is one of store.Scopes.
type scope string

// Schema is for the OpenAPI document.
func (scope) Schema(huma.Registry) *huma.Schema {
	s := &huma.Schema{Type: huma.TypeString}
	for _, one := range store.Scopes {
		s.Enum = append(s.Enum, one)
	}
	return s
}

type madeToken struct {
	store.Token
	Secret string `json:"secret,omitempty" doc:"For the header Authorization: Bearer SECRET"`
}

type madeTokenAnswer struct{ Body madeToken }

// withoutSecret implements secretOmitter: the secret of a token is not stored in the database.
func (t *madeTokenAnswer) withoutSecret() *madeTokenAnswer {
	kept := *t
	kept.Body.Secret = ""
	return &kept
}

func (a *App) createToken(ctx context.Context, in *struct {
	Idempotent
	Body struct {
		Name    string  `json:"name" minLength:"1" maxLength:"100" doc:"Shown as the author in the history"`
		Scopes  []scope `json:"scopes" minItems:"1" nullable:"false"`
		Expires int     `json:"expires_in_days,omitempty" minimum:"1" maximum:"3650" doc:"Absent: never"`
	}
}) (*madeTokenAnswer, []store.Rev, error) {
	var scopes []string
	for _, s := range in.Body.Scopes {
		scopes = append(scopes, string(s))
	}
	token, secret, err := a.DB.CreateToken(ctx, in.Body.Name, scopes, time.Duration(in.Body.Expires)*24*time.Hour)
	if err != nil {
		return nil, nil, err
	}
	return &madeTokenAnswer{madeToken{token, secret}}, nil, nil
}

type tokensAnswer struct {
	Body struct {
		Tokens []store.Token `json:"tokens" nullable:"false"`
	}
}

func (a *App) listTokens(ctx context.Context, _ *struct{}) (*tokensAnswer, error) {
	tokens, err := a.DB.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := &tokensAnswer{}
	out.Body.Tokens = tokens
	return out, nil
}

type tokenAnswer struct{ Body store.Token }

func (a *App) revokeToken(ctx context.Context, in *struct {
	Idempotent
	ID int64 `path:"id" minimum:"1" example:"7"`
}) (*tokenAnswer, []store.Rev, error) {
	token, err := a.DB.RevokeToken(ctx, in.ID)
	if err != nil {
		return nil, nil, err
	}
	a.authentication.Forget(in.ID)
	return &tokenAnswer{token}, nil, nil
}

type callerAnswer struct {
	Body struct {
		Name   string   `json:"name"`
		Key    string   `json:"key" doc:"The caller's stable key; appears as author_key in the history"`
		Scopes []string `json:"scopes" nullable:"false"`
	}
}

func (a *App) whoami(ctx context.Context, _ *struct{}) (*callerAnswer, error) {
	caller := auth.CallerFrom(ctx)
	out := &callerAnswer{}
	out.Body.Name, out.Body.Key, out.Body.Scopes = caller.Name, caller.Key, append([]string{}, caller.Scopes...)
	return out, nil
}
