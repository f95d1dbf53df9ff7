package store

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bojanz/currency"
	"github.com/shopspring/decimal"
)

var maxPrice = decimal.New(1, 11) // the limit of DECIMAL(15,4)

// normalise gives the prices as many digits as the currency has.
func (p *Product) normalise() {
	p.Price = p.Price.in(p.Currency)
	if p.CompareAtPrice != nil {
		was := p.CompareAtPrice.in(p.Currency)
		p.CompareAtPrice = &was
	}
}

// check returns an *InvalidError with all rules that p breaks, or nil.
func (p Product) check() error {
	var broken []FieldError
	say := func(field, message string) { broken = append(broken, FieldError{field, message}) }

	checkTexts(&p, say)
	if !validImageURL(p.ImageURL) {
		say("image_url", "is neither an http(s) URL nor a path that starts with /")
	}
	if utf8.RuneCountInString(p.Description) > MaxDescription {
		say("description", "is too long")
	}
	if p.Stock < 0 || p.Stock > MaxStock {
		say("stock", "is not between 0 and 1000000000")
	}
	digits, known := currency.GetDigits(p.Currency)
	if !known {
		say("currency", "is not an ISO 4217 code")
	}
	amount := func(field string, d Price) {
		switch {
		case d.IsNegative():
			say(field, "is negative")
		case d.GreaterThanOrEqual(maxPrice):
			say(field, "is too large")
		case known && !d.Round(int32(digits)).Equal(d.Decimal):
			say(field, "has more digits than "+p.Currency+" has")
		}
	}
	amount("price", p.Price)
	if p.CompareAtPrice != nil {
		amount("compare_at_price", *p.CompareAtPrice)
	}
	if len(broken) > 0 {
		return &InvalidError{broken}
	}
	return nil
}

func validImageURL(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return u.Host != ""
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(s, "/")
}

// checkTexts reports each rule that a text of p breaks.
func checkTexts(p *Product, broken func(field, message string)) {
	for _, f := range fields {
		if f.textRule == nil {
			continue
		}
		s := *f.value(p).(*string)
		switch n := utf8.RuneCountInString(s); {
		case !utf8.ValidString(s):
			broken(f.name, "is not UTF-8")
		case n < f.textRule.least:
			broken(f.name, "is required")
		case n > f.textRule.most:
			broken(f.name, "is too long")
		case strings.ContainsFunc(s, unicode.IsControl):
			broken(f.name, "has control characters")
		}
		if f.textRule.unpadded && s != strings.TrimSpace(s) {
			broken(f.name, "has spaces around it")
		}
	}
}
