package api

import (
	"context"
	"net/http"
	"time"

	"shelfcast/store"
)

func (b *book) tokens() {
	const tag = "Tokens"
	writes(b, entry{
		id: "create-token", method: http.MethodPost, path: "/tokens", tag: tag, scope: store.AdminTokens, status: http.StatusCreated,
		summary:     "Make a token",
		description: "Its secret is in this answer and kept nowhere; an answer that comes again for an Idempotency-Key is without it. Who may make tokens may make one with any scope.",
		request:     exampleNewToken, response: exampleMadeToken,
	}, b.admin.createToken)
	reads(b, entry{
		id: "list-tokens", method: http.MethodGet, path: "/tokens", tag: tag, scope: store.AdminTokens,
		summary: "List tokens, newest first", description: "Those that have expired or were revoked too.", response: exampleTokens,
	}, b.admin.listTokens)
	writes(b, entry{
		id: "revoke-token", method: http.MethodDelete, path: "/tokens/{id}", tag: tag, scope: store.AdminTokens,
		summary:     "Revoke a token",
		description: "It is taken nowhere any more, after 5 s at the latest. One that was revoked before stays so.",
		errors:      []int{http.StatusNotFound}, response: exampleRevoked,
	}, b.admin.revokeToken)
	reads(b, entry{
		id: "whoami", method: http.MethodGet, path: "/caller", tag: tag, scope: anyToken,
		summary: "Who the token is of, and what it may do", response: exampleCaller,
	}, b.admin.whoami)
}

type madeToken struct {
	store.Token
	Secret string `json:"secret,omitempty" doc:"What goes behind Authorization: Bearer"`
}

type madeTokenAnswer struct{ Body madeToken }

// withoutSecret: what is kept in the database is not to be a token.
func (t *madeTokenAnswer) withoutSecret() *madeTokenAnswer {
	kept := *t
	kept.Body.Secret = ""
	return &kept
}

func (a *Admin) createToken(ctx context.Context, in *struct {
	Idempotent
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"100" doc:"As histories show it"`
		Scopes  []string `json:"scopes" minItems:"1" nullable:"false" enum:"products:read,products:write,tokens:admin"`
		Expires int      `json:"expires_in_days,omitempty" minimum:"1" maximum:"3650" doc:"Absent: never"`
	}
}) (*madeTokenAnswer, []store.Rev, error) {
	token, secret, err := a.DB.CreateToken(ctx, in.Body.Name, in.Body.Scopes, time.Duration(in.Body.Expires)*24*time.Hour)
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

func (a *Admin) listTokens(ctx context.Context, _ *struct{}) (*tokensAnswer, error) {
	tokens, err := a.DB.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	out := &tokensAnswer{}
	out.Body.Tokens = tokens
	return out, nil
}

type tokenAnswer struct{ Body store.Token }

func (a *Admin) revokeToken(ctx context.Context, in *struct {
	Idempotent
	ID int64 `path:"id" minimum:"1" example:"7"`
}) (*tokenAnswer, []store.Rev, error) {
	token, err := a.DB.RevokeToken(ctx, in.ID)
	if err != nil {
		return nil, nil, err
	}
	a.gate.forget(in.ID)
	return &tokenAnswer{token}, nil, nil
}

type callerAnswer struct {
	Body struct {
		Name   string   `json:"name"`
		Key    string   `json:"key" doc:"Who it is, as author_key of histories"`
		Scopes []string `json:"scopes" nullable:"false"`
	}
}

func (a *Admin) whoami(ctx context.Context, _ *struct{}) (*callerAnswer, error) {
	caller := callerOf(ctx)
	out := &callerAnswer{}
	out.Body.Name, out.Body.Key, out.Body.Scopes = caller.Name, caller.Key, append([]string{}, caller.Scopes...)
	return out, nil
}
