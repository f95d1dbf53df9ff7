package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"shelfcast/store"
	"shelfcast/store/shopify"
)

// exportRows is how many products an export has in memory at a time. A description
// may have 200,000 characters.
const exportRows = 100

// maxReport is how many lines of a file an answer tells of.
const maxReport = 10_000

func (b *book) transfer() {
	const tag = "Import and export"
	register(b, entry{
		id: "import-products", method: http.MethodPost, path: "/products:import", tag: tag, scope: store.WriteProducts,
		summary: "Import a product CSV of Shopify",
		description: "The file is the body, of any size: it is read as it comes. Products that have the SKU already are edited, and what is as the file has it stays at its version: the same file twice changes nothing. " +
			"Each product is a transaction of its own; a line that is no good is left out, and lines says why; it also says what was taken out of descriptions. If it ends early with a problem, what stood before is imported; send it again.",
		anyBody: "text/csv", response: exampleImported,
	}, answers(b.admin, b.admin.importCSV))
	reads(b, entry{
		id: "export-products", method: http.MethodGet, path: "/products:export", tag: tag, scope: store.ReadProducts,
		summary:     "Export products as a product CSV of Shopify",
		description: "With archived=any it imports back to the same catalogue: there are columns Currency and External ID that Shopify's format lacks. An answer that was cut off was not all.",
		responses: map[string]*huma.Response{"200": {Description: "The file", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}, Example: exampleCSV},
		}}},
	}, b.admin.exportCSV)
}

type importAnswer struct{ Body importReport }

type importReport struct {
	shopify.Tally
	Lines   []importLine `json:"lines" nullable:"false" doc:"What became of lines: those that failed or lost something, or all"`
	Omitted int          `json:"omitted" doc:"How many more lines there would be to tell of"`
}

// importLine is a line of a file, the first of its product.
type importLine struct {
	Line    int            `json:"line"`
	SKU     string         `json:"sku,omitempty"`
	Result  shopify.Result `json:"result" enum:"created,changed,unchanged,failed"`
	ID      int64          `json:"id,omitempty"`
	Version int64          `json:"version,omitempty"`
	Error   string         `json:"error,omitempty" doc:"Why it was left out"`
	Removed string         `json:"removed,omitempty" doc:"What was taken out of the description, in words"`
}

func (a *Admin) importCSV(ctx context.Context, in *importInput) (*importAnswer, error) {
	sum := sha256.New()
	upload := io.TeeReader(in.upload, sum)
	t, _ := ctx.Value(turnKey{}).(*turn)
	if t != nil && t.call.Key != "" {
		if out, err := a.importedBefore(ctx, t, upload, sum); out != nil || err != nil {
			return out, err
		}
		// It is edits of its own, each of which a second one would find made.
		out, err := a.importAll(ctx, in, upload)
		if err != nil {
			return nil, err
		}
		_, _, err = a.DB.Once(ctx, t.call, func(context.Context) ([]byte, error) {
			return json.Marshal(kept{Sum: hex.EncodeToString(sum.Sum(nil)), Out: out})
		})
		return out, err
	}
	return a.importAll(ctx, in, upload)
}

// kept is the answer to an import, with the sum of the file.
type kept struct {
	Sum string        `json:"sum"`
	Out *importAnswer `json:"out"`
}

// importedBefore reads the whole file to find out whether it is the one for which
// the key came before.
func (a *Admin) importedBefore(ctx context.Context, t *turn, upload io.Reader, sum hash.Hash) (*importAnswer, error) {
	answer, before, err := a.DB.Answered(ctx, t.call)
	if err != nil || !before {
		return nil, err
	}
	var first kept
	if err := json.Unmarshal(answer, &first); err != nil {
		return nil, fmt.Errorf("the answer that was kept: %w", err)
	}
	if _, err := io.Copy(io.Discard, upload); err != nil {
		return nil, uploadError(err)
	}
	if first.Sum != hex.EncodeToString(sum.Sum(nil)) {
		return nil, fmt.Errorf("key %q: %w", t.call.Key, store.ErrKeyReused)
	}
	t.replayed = true
	return first.Out, nil
}

func (a *Admin) importAll(ctx context.Context, in *importInput, upload io.Reader) (*importAnswer, error) {
	out := &importAnswer{importReport{Lines: []importLine{}}}
	var news []store.Rev
	tell := func() {
		a.announce(ctx, news)
		news = nil
	}
	tally, err := shopify.Import(ctx, a.DB, upload, in.Currency, func(o shopify.Outcome) {
		if o.Result == shopify.Created || o.Result == shopify.Changed {
			news = append(news, o.Rev)
		}
		if len(news) >= store.MaxBatch {
			tell()
		}
		switch {
		case in.Report != "all" && o.Result != shopify.Failed && o.Removed == "":
		case len(out.Body.Lines) == maxReport:
			out.Body.Omitted++
		default:
			out.Body.Lines = append(out.Body.Lines, importLine{o.Line, o.SKU, o.Result, o.ID, o.Version, o.Error, o.Removed})
		}
	})
	tell()
	out.Body.Tally = tally
	if errors.Is(err, shopify.ErrHeader) || errors.Is(err, shopify.ErrLong) {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	if err != nil {
		return nil, uploadError(err)
	}
	return out, nil
}

// uploadError tells a connection that broke from a database that did.
func uploadError(err error) error {
	if errors.Is(err, errUpload) {
		return fiber.NewError(fiber.StatusRequestTimeout, "the file did not come whole, or not in time")
	}
	return err
}

// importInput has the body as it comes.
type importInput struct {
	Idempotent
	Currency string `query:"currency" default:"USD" pattern:"^[A-Z]{3}$" doc:"Of the prices, where the file does not say"`
	Report   string `query:"report" enum:"failures,all" default:"failures" doc:"Of which lines to tell"`

	upload io.Reader
}

// Resolve takes the body from Fiber.
func (in *importInput) Resolve(ctx huma.Context) []error {
	c := humafiber.Unwrap(ctx)
	stream := bodyStream(c)
	if stream == nil {
		return []error{huma.Error400BadRequest("the body is to be a CSV")}
	}
	in.upload = &patientReader{stream, c.Context().Conn()}
	return nil
}

var errUpload = errors.New("the upload broke")

// A patientReader gives each piece of a body the time that a whole request has
// otherwise.
type patientReader struct {
	from io.Reader
	conn net.Conn
}

func (r *patientReader) Read(b []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return 0, err
	}
	n, err := r.from.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", errUpload, err)
	}
	return n, err
}

type exportAnswer struct {
	Disposition string `header:"Content-Disposition"`
	Body        func(huma.Context)
}

func (a *Admin) exportCSV(ctx context.Context, in *struct{ Picks }) (*exportAnswer, error) {
	f, page := in.filter(), store.Page{Limit: exportRows}
	// The first page now: a database that is away is to be a problem and no file.
	first, err := a.DB.List(ctx, f, page)
	if err != nil {
		return nil, err
	}
	next := func() ([]store.Product, error) {
		products, err := first, error(nil)
		if first = nil; products == nil && page.After != nil {
			if products, err = a.DB.List(ctx, f, page); err != nil {
				a.Log.ErrorContext(ctx, "an export was cut off", "error", err)
				return nil, err
			}
		}
		page.After = nil
		if len(products) == page.Limit {
			page.After = &store.Place{ID: products[len(products)-1].ID}
		}
		return products, nil
	}
	return &exportAnswer{Disposition: `attachment; filename="products.csv"`, Body: func(ctx huma.Context) {
		c := humafiber.Unwrap(ctx)
		c.Set(fiber.HeaderContentType, "text/csv; charset=utf-8")
		c.Set(fiber.HeaderCacheControl, "no-store")
		c.Context().SetBodyStream(&patientWriter{shopify.Export(next), c.Context().Conn()}, -1)
	}}, nil
}

// A patientWriter gives each piece of an answer the time of a whole one.
type patientWriter struct {
	from io.Reader
	conn net.Conn
}

func (w *patientWriter) Read(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.from.Read(b)
}
