package public

import (
	"encoding/json"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzSync: whatever is posted gets a JSON-RPC answer, or is told that it is not a call.
func FuzzSync(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"call","params":{"product_id":42}}`, `{"id":"x","params":{"product_id":"42"}}`,
		`{"id":null,"params":{"product_id":9.7}}`, `{"params":{"product_id":1e400}}`,
		`{"id":{"a":[1]},"params":{}}`, `[]`, ``, `{"params":[]}`,
	} {
		f.Add([]byte(seed))
	}
	serve := newOfflinePublic(f).app.Handler()
	f.Fuzz(func(t *testing.T, body []byte) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetMethod("POST")
		ctx.Request.SetRequestURI("/product/tree/sync")
		ctx.Request.SetBody(body)
		serve(&ctx)
		answer := ctx.Response.Body()
		switch ctx.Response.StatusCode() {
		case 200:
			var said struct {
				ID            json.RawMessage
				Result, Error json.RawMessage
			}
			var asked struct{ ID json.RawMessage }
			if json.Unmarshal(answer, &said) != nil || json.Unmarshal(body, &asked) != nil ||
				(said.Result == nil) == (said.Error == nil) {
				t.Errorf("%s: %s", body, answer)
			}
		case 400, 413:
			if !json.Valid(answer) {
				t.Errorf("%s: %s", body, answer)
			}
		default:
			t.Errorf("%s: %d %s", body, ctx.Response.StatusCode(), answer)
		}
	})
}
