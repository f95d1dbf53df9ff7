package shopify

import (
	"strings"
	"unicode/utf8"
)

// formulaStarts are the characters with which a cell is a formula to a spreadsheet.
// The wide ones count in some languages.
const formulaStarts = "=+-@＝＋－＠"

// isFormula reports whether a spreadsheet would run s, or would do so without the
// apostrophes in front of it.
func isFormula(s string) bool {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, "'"))
	return strings.ContainsRune(formulaStarts, first)
}

// escape returns s as a cell that no spreadsheet runs: a formula gets an apostrophe in
// front, even if it has some already, so that unescape returns s whatever it is.
func escape(s string) string {
	s = strings.TrimSpace(s)
	if isFormula(s) {
		return "'" + s
	}
	return s
}

// unescape returns the text of a cell. An apostrophe that is not followed by a formula
// is part of the text.
func unescape(cell string) string {
	if isFormula(cell) {
		return strings.TrimPrefix(cell, "'")
	}
	return cell
}

// escapeSKU is escape for SKUs. Spreadsheets put an apostrophe in front of any SKU, so
// unescapeSKU removes one from any.
func escapeSKU(s string) string {
	s = strings.TrimSpace(s)
	if isFormula(s) || strings.HasPrefix(s, "'") {
		return "'" + s
	}
	return s
}

func unescapeSKU(cell string) string { return strings.TrimPrefix(cell, "'") }
