package shopify

import (
	"strings"
	"unicode/utf8"
)

// A spreadsheet runs a cell that begins with one of these. The wide ones count
// in some languages.
const formulas = "=+-@＝＋－＠"

// formula: a spreadsheet would run s, or would do so without the apostrophes in
// front of it.
func formula(s string) bool {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, "'"))
	return strings.ContainsRune(formulas, first)
}

// safe is s as a cell that no spreadsheet runs: with an apostrophe in front of
// what it would run. Because one more is added where there are some, bare has s
// back, whatever it is.
func safe(s string) string {
	s = strings.TrimSpace(s)
	if formula(s) {
		return "'" + s
	}
	return s
}

// bare is the text of a cell. An apostrophe with no formula behind it is text.
func bare(cell string) string {
	if formula(cell) {
		return strings.TrimPrefix(cell, "'")
	}
	return cell
}

// safeSKU is safe for SKUs: spreadsheets put an apostrophe in front of any, so
// bareSKU takes one away from any.
func safeSKU(s string) string {
	s = strings.TrimSpace(s)
	if formula(s) || strings.HasPrefix(s, "'") {
		return "'" + s
	}
	return s
}

func bareSKU(cell string) string { return strings.TrimPrefix(cell, "'") }
