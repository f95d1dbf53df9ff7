package store

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"shelfcast/testkit"
)

// notEditable are the fields of Product that no Edit sets, and why.
var notEditable = map[string]string{
	"Rev":        "set by each write",
	"Archived":   "changed by Archive and Restore",
	"Public":     "computed from published and published_once",
	"CreatedAt":  "set once",
	"ArchivedAt": "changed by Archive and Restore",
}

// A field of Product or Edit that is missing in the table would be written nowhere, or
// its edits would be lost as "no change".
func TestFieldTableCoversProductAndEdit(t *testing.T) {
	var p Product
	var e Edit
	product, edit := reflect.ValueOf(&p).Elem(), reflect.ValueOf(&e).Elem()
	if product.NumField() != len(fields)+len(notEditable) {
		t.Errorf("Product has %d fields, the table %d and notEditable %d", product.NumField(), len(fields), len(notEditable))
	}
	if edit.NumField() != len(fields) {
		t.Errorf("Edit has %d fields, the table %d", edit.NumField(), len(fields))
	}
	for i := range product.NumField() {
		of := product.Type().Field(i)
		if notEditable[of.Name] != "" {
			continue
		}
		f, ok := fieldByName(of.Tag.Get("json"))
		if !ok || f.name != of.Tag.Get("db") {
			t.Errorf("Product.%s is not in the table under the name of its json and db tags", of.Name)
			continue
		}
		if f.value(&p) != product.Field(i).Addr().Interface() {
			t.Errorf("%s: the value of the table is not Product.%s", f.name, of.Name)
		}
		same, ok := edit.Type().FieldByName(of.Name)
		name, _, _ := strings.Cut(same.Tag.Get("json"), ",")
		if !ok || name != f.name || (same.Tag.Get("nullable") == "true") != f.isNullable {
			t.Errorf("Edit.%s is missing, or its tags differ from the table", of.Name)
			continue
		}
		if f.target(&e) != edit.FieldByName(of.Name).Addr().Interface() {
			t.Errorf("%s: the target of the table is not Edit.%s", f.name, of.Name)
		}
	}
	if archivedField.value(&p) != any(&p.Archived) || !slices.Contains(historyNames(), "archived") {
		t.Error("archived is not in the history")
	}
}

func historyNames() (names []string) {
	for _, f := range historyFields {
		names = append(names, f.name)
	}
	return names
}

// others are valid values that differ from those of the product under test, by field.
// A field without one gets a value by its type.
var others = map[string]string{
	"description": `"another text"`, "image_url": `"/another.jpg"`,
	"currency": `"CHF"`, "compare_at_price": `"7.50"`, "price": `"6.50"`,
}

func other(t *testing.T, f field) string {
	t.Helper()
	if value, ok := others[f.name]; ok {
		return value
	}
	switch f.value(&Product{}).(type) {
	case *string:
		return `"another"`
	case *int64:
		return `7`
	case *bool:
		return `true`
	}
	t.Fatalf("%s: add a value to others", f.name)
	return ""
}

// Each field is stored by Create, and each edit of a single field is stored, makes a
// new version and is in the history: no edit is acknowledged and lost.
func TestEditOfEachFieldIsStoredAndInHistory(t *testing.T) {
	db, err := Open(testkit.DSN(t), Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := map[string]json.RawMessage{}
	for _, f := range fields {
		all[f.name] = json.RawMessage(other(t, f))
	}
	if p := create(t, db, string(mustJSON(all))); !reflect.DeepEqual(historyJSON(p), all) {
		t.Errorf("Create stored %s, want %s", historyJSON(p), all)
	}
	for n, f := range fields {
		before := create(t, db, `{"sku":"sku-`+string(rune('a'+n))+`","title":"Title","price":"9.00","currency":"EUR"}`)
		var e Edit
		value := other(t, f)
		if f.name == "sku" {
			value = `"another-2"`
		} else if f.name == "external_id" {
			value = `"another-3"`
		}
		if err := json.Unmarshal([]byte(`{"`+f.name+`":`+value+`}`), &e); err != nil {
			t.Fatal(err)
		}
		after, err := db.Update(t.Context(), before.Rev, e)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		if after.Version <= before.Version {
			t.Errorf("%s: the edit made no new version", f.name)
		}
		stored, err := db.Product(t.Context(), before.ID)
		if err != nil || string(mustJSON(f.value(&stored))) != value {
			t.Errorf("%s: %s is stored, want %s: %v", f.name, mustJSON(f.value(&stored)), value, err)
		}
		entries, _, err := db.History(t.Context(), before.ID, 0, 1)
		want := []Change{{f.name, mustJSON(f.value(&before)), json.RawMessage(value)}}
		if err != nil || len(entries) != 1 || entries[0].Version != after.Version ||
			!reflect.DeepEqual(entries[0].Changes, want) {
			t.Errorf("%s: the history has %s, want %s: %v", f.name, mustJSON(entries), mustJSON(want), err)
		}
	}
}

func create(t *testing.T, db *DB, edit string) Product {
	t.Helper()
	var e Edit
	if err := json.Unmarshal([]byte(edit), &e); err != nil {
		t.Fatal(err)
	}
	p, err := db.Create(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// historyJSON returns the fields of p by name, as the history has them.
func historyJSON(p Product) map[string]json.RawMessage {
	values := map[string]json.RawMessage{}
	for _, f := range fields {
		values[f.name] = mustJSON(f.value(&p))
	}
	return values
}

// null removes a value where a product can be without it, and changes nothing else.
func TestMergePatchNull(t *testing.T) {
	for _, f := range fields {
		var e Edit
		if err := json.Unmarshal([]byte(`{"`+strings.ToUpper(f.name)+`":null}`), &e); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if f.given(&e) != f.isNullable {
			t.Errorf("%s: null sets it: %t, want %t", f.name, f.given(&e), f.isNullable)
		}
		for _, another := range fields {
			if another.name != f.name && another.given(&e) {
				t.Errorf("null for %s sets %s", f.name, another.name)
			}
		}
		if f.isNullable {
			p := Product{Title: "x"}
			want := mustJSON(f.value(&p))
			if err := json.Unmarshal([]byte(other(t, f)), f.value(&p)); err != nil {
				t.Fatal(err)
			}
			f.apply(&e, &p)
			if got := mustJSON(f.value(&p)); string(got) != string(want) {
				t.Errorf("%s: null makes it %s, want %s", f.name, got, want)
			}
		}
	}
	for _, text := range []string{`null`, `{}`, `{"unknown":[1]}`} {
		e := Edit{SKU: new(string)}
		if err := e.UnmarshalJSON([]byte(text)); err != nil || e != (Edit{}) {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
	}
	for _, text := range []string{`[]`, `"sku"`, `7`, `{"sku":7}`, `{"published":"yes"}`, `{"sku":"a"`} {
		e := Edit{}
		if err := e.UnmarshalJSON([]byte(text)); err == nil || e != (Edit{}) {
			t.Errorf("%s was accepted: %+v", text, e)
		}
	}
}
