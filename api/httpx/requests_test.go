package httpx

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
)

// unbounded are methods of Fiber and fasthttp that read a body of any length, decompress it, or write it to disk.
var unbounded = []string{
	"Body", "BodyRaw", "BodyParser", "BodyStream", "BodyGunzip", "BodyInflate", "BodyUnbrotli", "BodyUnzstd",
	"BodyUncompressed", "BodyWriteTo", "RequestBodyStream", "PostBody", "PostArgs",
	"FormFile", "FormValue", "MultipartForm", "SaveFile", "SaveFileToStorage", "GetMultipartForm",
}

// Below api, request bodies are read in httpx/body.go, which bounds them, and nowhere else; and no text is taken out
// of a request's buffer without a copy.
func TestBodiesAreReadInOnePlace(t *testing.T) {
	files, calls := token.NewFileSet(), 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		if strings.HasPrefix(path, "../apitest/") {
			return nil // requests of its own
		}
		for _, imported := range file.Imports {
			if imported.Path.Value == `"unsafe"` {
				t.Errorf("%s uses unsafe: what is kept of a request has to be a copy", path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if _, ok := n.(*ast.CallExpr); ok {
				calls++
			}
			method, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at, name := files.Position(method.Pos()), method.Sel.Name
			if name == "UnsafeString" || name == "UnsafeBytes" {
				t.Errorf("%v: %s does not copy a request's text", at, name)
			}
			return true
		})
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			// In largeanswers.go, Body is that of a response.
			if pkg, isPkg := qualifier(method); isPkg && pkg == "httpx" || !ok || path == "../httpx/body.go" ||
				path == "../admin/largeanswers.go" && method.Sel.Name == "Body" {
				return true
			}
			if slices.Contains(unbounded, method.Sel.Name) {
				t.Errorf("%v: %s has no bound: use httpx.ReadBody", files.Position(call.Pos()), method.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 500 {
		t.Errorf("only %d calls were looked at", calls)
	}
}

// qualifier returns the name before the dot, if there is one.
func qualifier(method *ast.SelectorExpr) (string, bool) {
	if method == nil {
		return "", false
	}
	of, ok := method.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return of.Name, true
}

// Strings that Fiber returns are copies.
func TestFiberStringsAreCopies(t *testing.T) {
	app := NewApp(AppConfig{Bodies: NewBodyLimiter("test", 1, 1, 1, nil),
		Fail: func(*fiber.Ctx, error) error { return nil }})
	if !app.Config().Immutable {
		t.Error("strings of one request become those of the next")
	}
}
