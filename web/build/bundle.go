package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/tdewolff/minify/v2"
	"github.com/tdewolff/minify/v2/js"
)

// The files that pages link to. The modules of the npm package have the same names.
const (
	pageEntry   = "shelfcast.js"
	workerEntry = "shelfcast-worker.js"
)

// worker is the whole file of the shared worker. The page's file includes the
// worker's code, for browsers without shared workers; so the worker imports it,
// and a browser loads the code once.
const worker = `import"./` + pageEntry + `";`

// writeClient writes the minified client into the folder out.
func writeClient(sources fs.FS, out string) error {
	page, err := minifyModule(sources, pageEntry)
	if err != nil {
		return fmt.Errorf("bundling the client: %w", err)
	}
	return write(out, map[string][]byte{pageEntry: page, workerEntry: []byte(worker)})
}

// minifyModule bundles a module of sources with its imports, and minifies the
// result. It returns an error if a module imports anything outside sources.
func minifyModule(sources fs.FS, entry string) ([]byte, error) {
	const namespace = "client"
	bundled, err := output(api.Build(api.BuildOptions{
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
			load := api.OnLoadOptions{Filter: ".*", Namespace: namespace}
			b.OnLoad(load, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
				code, err := fs.ReadFile(sources, a.Path)
				text := string(code)
				return api.OnLoadResult{Contents: &text, Loader: api.LoaderJS}, err
			})
		}}},
	}))
	if err != nil {
		return nil, err
	}
	// The second minifier orders the names so that gzip saves another 4 %.
	var small bytes.Buffer
	err = js.Minify(minify.New(), &small, bytes.NewReader(bundled), nil)
	return small.Bytes(), err
}

// bundleModule bundles a module with what it imports from dir and its node_modules.
func bundleModule(source, dir string) ([]byte, error) {
	return output(api.Build(api.BuildOptions{
		Stdin:    &api.StdinOptions{Contents: source, ResolveDir: dir, Loader: api.LoaderJSX},
		Bundle:   true,
		Format:   api.FormatESModule,
		JSX:      api.JSXAutomatic,
		Define:   map[string]string{"process.env.NODE_ENV": `"production"`},
		LogLevel: api.LogLevelSilent,
	}))
}

// output returns the one file that was built. Warnings are errors.
func output(result api.BuildResult) ([]byte, error) {
	var errs []error
	for _, m := range append(result.Errors, result.Warnings...) {
		errs = append(errs, errors.New(m.Text))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return result.OutputFiles[0].Contents, nil
}
