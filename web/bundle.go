package web

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/js"
)

// The files of the client that pages link to; the npm package has the same names.
// The page's has the worker's code too, for where there are no shared workers. So
// the worker's is only another way into it: a browser loads the code once.
const (
	pageEntry   = "shelfcast.js"
	workerEntry = "shelfcast-worker.js"
	worker      = `import"./` + pageEntry + `";`
)

// bundled has the assets, and the client as small as it can be.
// It makes them when they are first asked for, once a process: what is served
// can not be another release than its sources.
type bundled struct{}

func (bundled) Open(name string) (fs.File, error) {
	files, err := bundle()
	if err != nil {
		return nil, err
	}
	return files.Open(name)
}

// bundle's file system is an archive in memory.
var bundle = sync.OnceValues(func() (fs.FS, error) {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	if err := w.AddFS(sub("assets")); err != nil {
		return nil, err
	}
	page, err := build(sub("client"), pageEntry)
	if err != nil {
		return nil, fmt.Errorf("the client: %w", err)
	}
	for name, code := range map[string]string{pageEntry: string(page), workerEntry: worker} {
		f, err := w.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(f, code); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
})

// build joins a module and all that it imports into one, without a word too many.
func build(sources fs.FS, entry string) ([]byte, error) {
	const namespace = "client"
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{"./" + entry},
		Bundle:            true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		LegalComments:     api.LegalCommentsNone,
		LogLevel:          api.LogLevelSilent,
		Plugins: []api.Plugin{{Name: namespace, Setup: func(b api.PluginBuild) {
			b.OnResolve(api.OnResolveOptions{Filter: `^\./`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
				return api.OnResolveResult{Path: a.Path[len("./"):], Namespace: namespace}, nil
			})
			b.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: namespace}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				code, err := fs.ReadFile(sources, a.Path)
				text := string(code)
				return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, err
			})
		}}},
	})
	var errs []error
	for _, m := range append(result.Errors, result.Warnings...) {
		errs = append(errs, errors.New(m.Text))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	// esbuild joins and leaves out; of the same code with names in this one's order,
	// gzip makes 4 % less.
	var small bytes.Buffer
	err := js.Minify(minify.New(), &small, bytes.NewReader(result.OutputFiles[0].Contents), nil)
	return small.Bytes(), err
}
