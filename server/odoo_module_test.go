package server_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"shelfcast/store"
	"shelfcast/testkit"
)

// odooStub is the part of Odoo that the module of deploy/odoo uses.
const odooStub = `
import sys, types
sys.dont_write_bytecode = True
class Model:
    def write(self, vals):
        for one in self: vars(one).update(vals)
        return True
odoo = types.ModuleType("odoo"); odoo.models = types.SimpleNamespace(Model=Model); sys.modules["odoo"] = odoo
sys.path.insert(0, sys.argv[1])
from product_template import ProductTemplate
class Commit(list):
    add = list.append
commit = Commit()
params = {"shelfcast.url": sys.argv[2], "shelfcast.token": sys.argv[3]}
class Env(dict):
    cr = types.SimpleNamespace(postcommit=commit)
class Parameters:
    def sudo(self): return self
    def get_param(self, name): return params[name]
class Product(ProductTemplate):
    _fields = {"website_published": 1}
    env = Env({"ir.config_parameter": Parameters()})
    currency_id = types.SimpleNamespace(decimal_places=2)
    description_sale = False
    active = website_published = True
    def __init__(self, id, name, price): self.id, self.name, self.list_price = id, name, price
    def __iter__(self): return iter([self])
    def sudo(self): return self
    def ensure_one(self): pass
lamp, mug = Product(int(sys.argv[4]), "Lamp", 0.1 + 0.2), Product(int(sys.argv[5]), "Mug", 5.0)
lamp.write({"name": "Odoo's lamp"})
mug.write({"list_price": 12.355})
mug.write({"color": 3})
assert len(commit) == 2, commit
for tell in commit: tell()
`

// The module for Odoo calls the API after the commit.
func TestOdooModuleRefreshesProducts(t *testing.T) {
	t.Parallel()
	f := startFleet(t, nil)
	visitor := odooAt(t, f.instances[1].PublicAddr())
	visitor.following(f)
	var products []store.Product
	for n, sku := range []string{"lamp", "mug"} {
		p := f.product(t, sku)
		products = append(products, f.edit(t, n, p.Rev, fmt.Sprintf(`{"external_id":"odoo:product.template:%d"}`, 9001+n)))
	}
	script := filepath.Join(t.TempDir(), "odoo.py")
	if err := os.WriteFile(script, []byte(odooStub), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testkit.Program(t, "python3", "python3"), script, "../deploy/odoo/shelfcast_notify/models",
		"http://"+f.instances[0].AdminAddr(), token, "9001", "9002")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, want := range []string{"Odoo's lamp at 0.30", "Mug at 12.36"} {
		p, err := f.db.Product(t.Context(), products[i].ID)
		if got := p.Title + " at " + p.Price.String(); err != nil || got != want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
		products[i] = p
	}
	heard := map[store.Rev]bool{}
	for !heard[store.Rev{ID: 9001, Version: products[0].Version}] ||
		!heard[store.Rev{ID: 9002, Version: products[1].Version}] {
		for _, news := range visitor.told() {
			heard[news.rev(t)] = true
		}
	}
}
