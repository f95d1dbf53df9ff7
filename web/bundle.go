package web

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/evanw/esbuild/pkg/api"
)

// entries are the files of the client that pages link to; the npm package has
// the same names.
var entries = []string{"shelfcast.js", "shelfcast-worker.js"}

// bundled has the assets, and the client in two files as small as they can be.
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
	for _, entry := range entries {
		code, err := build(sub("client"), entry)
		if err != nil {
			return nil, fmt.Errorf("the client's %s: %w", entry, err)
		}
		f, err := w.Create(entry)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(code); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
})

// build joins a module and all that it imports into one, without a word too
// many. What is imported later, by import(), stays a file of its own.
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
				if a.Kind == api.ResolveJSDynamicImport {
					return api.OnResolveResult{Path: a.Path, External: true}, nil
				}
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
	return result.OutputFiles[0].Contents, nil
}
