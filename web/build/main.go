// Build joins JavaScript modules into one file. It is a Go module of its own, so
// that neither the bundler nor the minifier is in the server.
//
//	go run -C web/build . client OUT     write the files that pages load into OUT
//	go run -C web/build . module DIR     bundle standard input, which may be JSX and imports from DIR, to standard output
//
// `go generate ./web` does the first; tests in a browser do the second.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: build client OUT | build module DIR")
	}
	switch args[0] {
	case "client":
		return writeClient(os.DirFS("../client"), args[1])
	case "module":
		source, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		code, err := bundleModule(string(source), args[1])
		if err != nil {
			return err
		}
		_, err = out.Write(code)
		return err
	}
	return fmt.Errorf("%q is neither client nor module", args[0])
}

// write writes the files below dir, which it creates if it has to.
func write(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, code := range files {
		if err := os.WriteFile(filepath.Join(dir, name), code, 0o644); err != nil {
			return err
		}
	}
	return nil
}
