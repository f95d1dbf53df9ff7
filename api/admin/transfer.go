package admin

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

	"shelfcast/api/httpx"
	"shelfcast/catalog"
	"shelfcast/catalog/shopify"
	"shelfcast/store"
)

// exportRows is how many products an export has in memory at a time. A description may have 200,000 characters.
const exportRows = 100

// maxReport is how many lines of a file an answer reports on.
const maxReport = 10_000

func (r *registry) transfer() {
	const tag = "Import and export"
	register(r, operation{
		id: "import-products", method: http.MethodPost, path: "/products:import", tag: tag, scope: store.WriteProducts,
		summary: "Import a Shopify product CSV",
		description: "The body is the file, of any size; it is processed while it arrives. Products whose SKU exists " +
			"are edited, and those that are already as in the file keep their version: importing a file twice changes " +
			"nothing. " +
			"Each product is a transaction of its own. An invalid line is left out, and lines says why, and what was removed " +
			"from descriptions. If the import ends early with a problem, the lines before are imported; send the file again.",
		bodyType: "text/csv", response: exampleImported,
	}, withProblems(r.admin, r.admin.importCSV))
	registerRead(r, operation{
		id: "export-products", method: http.MethodGet, path: "/products:export", tag: tag, scope: store.ReadProducts,
		summary: "Export products as a Shopify product CSV",
		description: "A file exported with archived=any imports back to the same catalogue: it has the columns " +
			"Currency and External ID, which Shopify's format lacks. An answer that was cut off is incomplete.",
		responses: map[string]*huma.Response{"200": {Description: "The file", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}, Example: exampleCSV},
		}}},
	}, r.admin.exportCSV)
}

type importAnswer struct{ Body importReport }

type importReport struct {
	catalog.Tally
	Lines   []importLine `json:"lines" nullable:"false" doc:"Results of lines: those that failed or had something removed, or all"`
	Omitted int          `json:"omitted" doc:"Number of further lines to report"`
}

// importLine is a line of a file, the first one of its product.
type importLine struct {
	Line    int            `json:"line"`
	SKU     string         `json:"sku,omitempty"`
	Result  catalog.Result `json:"result" enum:"created,changed,unchanged,failed"`
	ID      int64          `json:"id,omitempty"`
	Version int64          `json:"version,omitempty"`
	Error   string         `json:"error,omitempty" doc:"Why the line failed"`
	Removed string         `json:"removed,omitempty" doc:"HTML removed from the description"`
}

func (a *App) importCSV(ctx context.Context, in *importInput) (*importAnswer, error) {
	sum := sha256.New()
	upload := io.TeeReader(in.upload, sum)
	call := idempotentCallOf(ctx)
	if call.Key == "" {
		return a.importAll(ctx, in, upload)
	}
	if out, err := a.replayImport(ctx, call, upload, sum); out != nil || err != nil {
		return out, err
	}
	// Each product is a transaction of its own. A retry after a failure finds the first ones as the file has them.
	out, err := a.importAll(ctx, in, upload)
	if err != nil {
		return nil, err
	}
	_, _, err = a.DB.RunIdempotent(ctx, call.IdempotentCall, func(context.Context) ([]byte, error) {
		return json.Marshal(storedImport{Sum: hex.EncodeToString(sum.Sum(nil)), Out: out})
	})
	return out, err
}

// A storedImport is the answer to an import as it is stored for retries, with the hash of the file.
type storedImport struct {
	Sum string        `json:"sum"`
	Out *importAnswer `json:"out"`
}

// replayImport returns the stored answer to the call, or nil if there is none. It reads the whole file to find out
// whether it is the same one.
func (a *App) replayImport(ctx context.Context, call *idempotentCall,
	upload io.Reader, sum hash.Hash) (*importAnswer, error) {
	answer, found, err := a.DB.StoredResponse(ctx, call.IdempotentCall)
	if err != nil || !found {
		return nil, err
	}
	var first storedImport
	if err := json.Unmarshal(answer, &first); err != nil {
		return nil, fmt.Errorf("decoding the stored response: %w", err)
	}
	if _, err := io.Copy(io.Discard, upload); err != nil {
		return nil, uploadError(err)
	}
	if first.Sum != hex.EncodeToString(sum.Sum(nil)) {
		return nil, fmt.Errorf("key %q: %w", call.Key, store.ErrKeyReused)
	}
	call.replayed = true
	return first.Out, nil
}

func (a *App) importAll(ctx context.Context, in *importInput, upload io.Reader) (*importAnswer, error) {
	out := &importAnswer{importReport{Lines: []importLine{}}}
	var committed []store.Rev
	publish := func() {
		a.publishCommitted(ctx, committed)
		committed = nil
	}
	tally, err := catalog.Import(ctx, a.DB, shopify.Read(upload, in.Currency), func(o catalog.Outcome) {
		if o.Result == catalog.Created || o.Result == catalog.Changed {
			committed = append(committed, o.Rev)
		}
		if len(committed) >= store.MaxBatch {
			publish()
		}
		switch {
		case in.Report != "all" && o.Result != catalog.Failed && o.Removed == "":
		case len(out.Body.Lines) == maxReport:
			out.Body.Omitted++
		default:
			out.Body.Lines = append(out.Body.Lines, importLine{o.Line, o.SKU, o.Result, o.ID, o.Version, o.Error, o.Removed})
		}
	})
	publish()
	out.Body.Tally = tally
	if errors.Is(err, shopify.ErrHeader) || errors.Is(err, shopify.ErrLineTooLong) {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	if err != nil {
		return nil, uploadError(err)
	}
	return out, nil
}

// uploadError returns a 408 if the connection broke, and err if the database did.
func uploadError(err error) error {
	if errors.Is(err, errUpload) {
		return fiber.NewError(fiber.StatusRequestTimeout, "the file did not arrive completely, or not in time")
	}
	return err
}

// importInput is the input of an import. Its body is a stream.
type importInput struct {
	Idempotent
	Currency string `query:"currency" default:"USD" pattern:"^[A-Z]{3}$" doc:"Of prices without a currency in the file"`
	Report   string `query:"report" enum:"failures,all" default:"failures" doc:"Which lines to report"`

	upload io.Reader
}

// Resolve takes the body from the request.
func (in *importInput) Resolve(ctx huma.Context) []error {
	c := humafiber.Unwrap(ctx)
	stream := httpx.BodyStream(c)
	if stream == nil {
		return []error{huma.Error400BadRequest("the body must be a CSV file")}
	}
	in.upload = &deadlineReader{stream, c.Context().Conn()}
	return nil
}

var errUpload = errors.New("the upload was interrupted")

// A deadlineReader gives each piece of a body the time that other requests have for all of it.
type deadlineReader struct {
	from io.Reader
	conn net.Conn
}

func (r *deadlineReader) Read(b []byte) (int, error) {
	if err := r.conn.SetReadDeadline(time.Now().Add(httpx.ReadTimeout)); err != nil {
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

func (a *App) exportCSV(ctx context.Context, in *struct{ ProductFilter }) (*exportAnswer, error) {
	f, page := in.filter(), store.Page{Limit: exportRows}
	// Read the first page now: if the database is away, the answer has to be a problem and not a file.
	first, more, err := a.DB.List(ctx, f, page)
	if err != nil {
		return nil, err
	}
	next := func() ([]store.Product, error) {
		products, err := first, error(nil)
		if first = nil; products == nil && more {
			if products, more, err = a.DB.List(ctx, f, page); err != nil {
				a.Log.ErrorContext(ctx, "export interrupted", "error", err)
				return nil, err
			}
		}
		if more {
			page.After = &store.Cursor{ID: products[len(products)-1].ID}
		}
		return products, nil
	}
	return &exportAnswer{Disposition: `attachment; filename="products.csv"`, Body: func(ctx huma.Context) {
		c := humafiber.Unwrap(ctx)
		c.Set(fiber.HeaderContentType, "text/csv; charset=utf-8")
		c.Set(fiber.HeaderCacheControl, "no-store")
		c.Context().SetBodyStream(&deadlineWriter{catalog.Export(next, shopify.NewWriter), c.Context().Conn()}, -1)
	}}, nil
}

// A deadlineWriter gives each piece of an answer the time that others have for all of it.
type deadlineWriter struct {
	from io.Reader
	conn net.Conn
}

func (w *deadlineWriter) Read(b []byte) (int, error) {
	if err := w.conn.SetWriteDeadline(time.Now().Add(httpx.WriteTimeout)); err != nil {
		return 0, err
	}
	return w.from.Read(b)
}
