package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"strings"

	"github.com/bojanz/currency"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"

	"shelfcast/store"
)

// A Language is a language of the shop.
type Language struct {
	Tag    string // BCP 47, as it is in lang attributes and in URLs: de, de-AT
	Prefix string // of the paths of its pages: "" for the default language, /de-AT for another
	Name   string // as its speakers call it
}

// View returns the view of that name in the language.
func (l Language) View(name View) View {
	if l.Prefix == "" {
		return name
	}
	return name + View("."+l.Tag)
}

// ShopPath returns the path of the shop in the language.
func (l Language) ShopPath() string { return l.Prefix + "/shop" }

// ProductPath returns the path of a product's page in the language.
func (l Language) ProductPath(id int64) string {
	return fmt.Sprintf("%s/shop/products/%d", l.Prefix, id)
}

// locale formats prices and messages in a language.
type locale struct {
	Language
	formatter *currency.Formatter
	messages  *i18n.Localizer
}

// parseLocales reads the tags of Config.Locales.
func parseLocales(tags []string) ([]language.Tag, error) {
	var parsed []language.Tag
	seen := map[string]bool{}
	for _, text := range tags {
		tag, err := language.Parse(text)
		if err != nil || tag == language.Und {
			return nil, fmt.Errorf("%q is not a language like en or de-AT", text)
		}
		if seen[tag.String()] {
			return nil, fmt.Errorf("the language %s is given twice", tag)
		}
		seen[tag.String()] = true
		parsed = append(parsed, tag)
	}
	return parsed, nil
}

// newLocale reads the messages of a language: for de-AT those of locales/de.json, which
// locales/de-AT.json overrides, and of each file ours, which the shop owner's overrides.
func newLocale(tag language.Tag, first bool, from files, sum hash.Hash) (*locale, error) {
	l := &locale{
		Language:  Language{Tag: tag.String()},
		formatter: currency.NewFormatter(currency.NewLocale(tag.String())),
	}
	if !first {
		l.Prefix = "/" + l.Tag
	}
	l.formatter.CurrencyDisplay = currency.DisplaySymbol
	names := []string{l.Tag}
	if base, _ := tag.Base(); base.String() != l.Tag {
		names = []string{base.String(), l.Tag}
	}
	note(sum, "language", []byte(l.Tag))
	bundle, found := i18n.NewBundle(tag), false
	for _, name := range names {
		for i := len(from) - 1; i >= 0; i-- {
			file := "locales/" + name + ".json"
			text, err := fs.ReadFile(from[i], file)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				_, err = bundle.ParseMessageBytes(tag, text, json.Unmarshal)
			}
			if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
				err = fmt.Errorf("line %d: %w", 1+strings.Count(string(text[:syntax.Offset]), "\n"), err)
			}
			if err != nil {
				return nil, fmt.Errorf("messages %s: %w", file, err)
			}
			note(sum, file, text)
			found = true
		}
	}
	if !found {
		return nil, fmt.Errorf("there are no messages in the language %s: add locales/%s.json to the folder of "+
			"templates, with the messages of our locales/en.json", l.Tag, l.Tag)
	}
	l.messages = i18n.NewLocalizer(bundle, l.Tag)
	var err error
	l.Name, err = l.text("language")
	return l, err
}

// text is the template function t. It returns the message with that ID. A count after the
// ID selects the plural form, and is .Count in the message. Other values follow their
// names:
//
//	{{t "in_stock"}}  {{t "left" .Stock}}  {{t "hello" "Name" .Title}}
func (l *locale) text(id string, args ...any) (string, error) {
	config := i18n.LocalizeConfig{MessageID: id}
	data := map[string]any{}
	if len(args)%2 == 1 {
		config.PluralCount, data["Count"] = args[0], args[0]
		args = args[1:]
	}
	for ; len(args) > 0; args = args[2:] {
		name, ok := args[0].(string)
		if !ok {
			return "", fmt.Errorf("message %q: %v must be the name of a value", id, args[0])
		}
		data[name] = args[1]
	}
	config.TemplateData = data
	text, err := l.messages.Localize(&config)
	if _, missing := errors.AsType[*i18n.MessageNotFoundErr](err); missing {
		return "", fmt.Errorf("there is no message %q in the language %s (locales/%s.json)", id, l.Tag, l.Tag)
	}
	if err != nil {
		return "", fmt.Errorf("message %q in the language %s: %w", id, l.Tag, err)
	}
	return text, nil
}

// money formats a price.
func (l *locale) money(p store.Price, code string) string {
	amount, err := currency.NewAmount(p.String(), code)
	if err != nil { // another program has stored a currency that does not exist
		return p.String() + " " + code
	}
	return l.formatter.Format(amount)
}
