package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"

	"github.com/bojanz/currency"
	"github.com/shopspring/decimal"
)

// A Price is an exact amount; its currency is another field. As text and JSON it is a
// decimal string with at least the digits of the currency: "19.90".
type Price struct{ decimal.Decimal }

// plain matches a decimal number without an exponent: the digits of 1e999999999 would fill
// the memory.
var plain = regexp.MustCompile(`^[+-]?[0-9]{1,20}(\.[0-9]{1,20})?$`)

var errPrice = errors.New(`not a decimal number such as "19.90"`)

// ParsePrice parses a decimal number such as "19.90".
func ParsePrice(s string) (Price, error) {
	if !plain.MatchString(s) {
		return Price{}, errPrice
	}
	d, err := decimal.NewFromString(s)
	return Price{d}, err
}

// UnmarshalText is ParsePrice.
func (p *Price) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePrice(string(b))
	return err
}

// UnmarshalJSON accepts a decimal string, or a number without an exponent.
func (p *Price) UnmarshalJSON(b []byte) error {
	return p.UnmarshalText(bytes.Trim(b, `"`))
}

// String returns p with all its digits, including trailing zeros.
func (p Price) String() string { return p.StringFixed(-min(p.Exponent(), 0)) }

// MarshalText is String.
func (p Price) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalJSON returns a JSON string, so that no reader parses it as a float.
func (p Price) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// in returns p with as many digits as the currency has, or more if p needs them.
func (p Price) in(code string) Price {
	digits, ok := currency.GetDigits(code)
	if !ok {
		return p
	}
	if fixed := p.Round(int32(digits)); !fixed.Equal(p.Decimal) {
		return p
	}
	return Price{decimal.RequireFromString(p.StringFixed(int32(digits)))}
}

// A PriceChange is what an Edit does to an optional price: the zero value leaves it
// unchanged, and null in JSON removes it.
type PriceChange struct {
	Set bool
	To  *Price // nil: remove it
}

// IsZero makes encoding/json leave out a change that is not set ("omitzero").
func (c PriceChange) IsZero() bool { return !c.Set }

// UnmarshalJSON accepts a decimal string or null.
func (c *PriceChange) UnmarshalJSON(b []byte) error {
	c.Set = true
	return json.Unmarshal(b, &c.To)
}

// MarshalJSON is the reverse of UnmarshalJSON.
func (c PriceChange) MarshalJSON() ([]byte, error) { return json.Marshal(c.To) }

// UnmarshalText accepts a decimal string.
func (c *PriceChange) UnmarshalText(b []byte) error {
	p, err := ParsePrice(string(b))
	c.Set, c.To = true, &p
	return err
}
