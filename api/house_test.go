package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// unbounded are methods of Fiber and fasthttp that read a body as long as it is, inflate
// it, or write it to disk.
var unbounded = []string{
	"Body", "BodyRaw", "BodyParser", "BodyStream", "BodyGunzip", "BodyInflate", "BodyUnbrotli", "BodyUnzstd",
	"BodyUncompressed", "BodyWriteTo", "RequestBodyStream", "PostBody", "PostArgs",
	"FormFile", "FormValue", "MultipartForm", "SaveFile", "SaveFileToStorage", "GetMultipartForm",
}

// Bodies are read in body.go, which bounds them, and nowhere else; and no text is taken
// out of a buffer without copying it.
func TestBodiesAreReadInOnePlace(t *testing.T) {
	files := token.NewFileSet()
	ours := func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }
	packages, err := parser.ParseDir(files, ".", ours, 0)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for name, file := range packages["api"].Files {
		for _, imported := range file.Imports {
			if imported.Path.Value == `"unsafe"` {
				t.Errorf("%s uses unsafe: what is kept of a request has to be a copy", name)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			method, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			at := files.Position(method.Pos())
			if name := method.Sel.Name; name == "UnsafeString" || name == "UnsafeBytes" {
				t.Errorf("%v: %s has no copy of a request's text", at, name)
			}
			return true
		})
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			calls++
			method, ok := call.Fun.(*ast.SelectorExpr)
			if ok && name != "body.go" && slices.Contains(unbounded, method.Sel.Name) {
				t.Errorf("%v: %s has no bound: use readBody", files.Position(call.Pos()), method.Sel.Name)
			}
			return true
		})
	}
	if calls < 500 {
		t.Errorf("only %d calls were looked at", calls)
	}
}

// A string of Fiber's is a copy, in both apps.
func TestFibersStringsMayBeKept(t *testing.T) {
	b := newBare(t)
	if !b.publicApp.Config().Immutable || !b.adminApp.Config().Immutable {
		t.Error("Fiber's strings become those of the next request")
	}
}
