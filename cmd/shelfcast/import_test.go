package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"shelfcast/server"
	"shelfcast/store"
	"shelfcast/testkit"
	"shelfcast/testkit/fleettest"
)

func TestMain(m *testing.M) { testkit.Main(m, fleettest.Clean) }

const columns = "Handle,Title,Body (HTML),Vendor,Published,Variant Inventory Qty,Variant Price,Image Src\n"

const file = columns +
	"pot,Clay Pot,<p>x<script>y</script></p>,Co,true,3,15.99,https://x.example/1.jpg\n" +
	"pot,,,,,2,9.99,\n" +
	"mug,Mug,,Co,true,1,5,\n" +
	"bad,Bad,,Co,true,1,free,\n" +
	"jar,Jar,,Co,true,1,5,ftp://x.example/1.jpg\n"

// The output of an import for operators and scripts.
func TestImportReportsRemovedHTML(t *testing.T) {
	command := importCommand{Database: server.Database{MySQL: testkit.DSN(t)},
		File: filepath.Join(t.TempDir(), "products.csv"), Currency: "EUR"}
	db, err := store.Open(command.MySQL, store.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(command.File, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	was := slog.Default()
	defer slog.SetDefault(was)
	const said = `level=WARN msg="removed from the description" line=2 sku=pot removed=<script>
level=WARN msg="importing a line failed" line=5 error="Variant Price \"free\" is not a number"
level=WARN msg="importing a line failed" line=5 error="the product has no variant with a price"
level=WARN msg="importing a line failed" line=6 error="invalid input: image_url is neither ` +
		`an http(s) URL nor a path that starts with /"
`
	for _, tally := range []string{"created=2 changed=0 unchanged=0 failed=3 sanitised=1",
		"created=0 changed=0 unchanged=2 failed=3 sanitised=1"} {
		var log bytes.Buffer
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: timeless})))
		err := command.Run(t.Context())
		if err == nil || err.Error() != "3 lines failed" {
			t.Errorf("it ended with %v", err)
		}
		if want := said + "level=INFO msg=imported file=" + command.File + " " + tally + "\n"; log.String() != want {
			t.Errorf("got %s, want %s", log.String(), want)
		}
	}
}

func timeless(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
