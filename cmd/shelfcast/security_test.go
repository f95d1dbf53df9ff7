package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// The limits in SECURITY.md are those of the code: each row of its table names a
// setting and its default, or a constant.
func TestSecurityDocumentMatchesLimits(t *testing.T) {
	paper, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	var p program
	parser, err := kong.New(&p, usage...)
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Children {
		if command.Name == "serve" {
			for _, f := range command.Flags {
				settings[f.Name] = f.Default
			}
		}
	}
	row := regexp.MustCompile("(?m)^\\| [^|]+ \\| ([^|]+) \\| `(--)?([a-z.A-Z0-9/-]+)` \\| [^|]+ \\|$")
	rows := row.FindAllStringSubmatch(string(paper), -1)
	if len(rows) < 20 {
		t.Errorf("only %d limits were found", len(rows))
	}
	for _, r := range rows {
		says, name := r[1], r[3]
		has, known := settings[name]
		if r[2] == "" {
			has, known = constantOf(t, name)
		}
		if !known {
			t.Errorf("there is no %s%s", r[2], name)
		} else if want := quantityOf(has); want != quantityOf(says) {
			t.Errorf("%s%s is %s; the paper has %s", r[2], name, has, says)
		}
	}
}

// constantOf returns the value of a constant, given as package.name.
func constantOf(t *testing.T, name string) (value string, found bool) {
	t.Helper()
	dir, name, _ := strings.Cut(name, ".")
	files, err := filepath.Glob("../../" + dir + "/*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, file := range files {
		parsed, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if ok && !found && len(spec.Values) == len(spec.Names) {
				for i, one := range spec.Names {
					if one.Name == name {
						value, found = evaluated(set, spec.Values[i]), true
					}
				}
			}
			return !found
		})
	}
	return value, found
}

// evaluated returns the value of an expression of numbers and constants of package
// time, in nanoseconds.
func evaluated(set *token.FileSet, expression ast.Expr) string {
	var text strings.Builder
	if err := printer.Fprint(&text, set, expression); err != nil {
		return err.Error()
	}
	plain := strings.NewReplacer("time.Millisecond", "1e6", "time.Second", "1e9", "time.Minute", "60e9", "time.Hour",
		"3600e9").Replace(text.String())
	is, err := types.Eval(set, nil, token.NoPos, plain)
	if err != nil {
		return err.Error()
	}
	if strings.Contains(text.String(), "time.") {
		ns, _ := constant.Float64Val(constant.ToFloat(is.Value))
		return fmt.Sprint(ns/1e9, " s")
	}
	return is.Value.ExactString()
}

// quantityOf returns the quantity in a text, in bytes, seconds or pieces.
func quantityOf(text string) float64 {
	text = strings.TrimSpace(strings.ReplaceAll(text, ",", ""))
	digits := len(text) - len(strings.TrimLeft(text, "0123456789."))
	n, err := strconv.ParseFloat(text[:digits], 64)
	if err != nil {
		return -1
	}
	unit, _, _ := strings.Cut(strings.TrimSpace(text[digits:])+" ", " ")
	factor := map[string]float64{"KiB": 1 << 10, "MiB": 1 << 20, "ms": 1e-3, "min": 60, "m": 60, "h": 3600}[unit]
	if factor == 0 {
		factor = 1
	}
	return n * factor
}
