package render

import (
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// files are folders of templates. The first that has a file wins: the shop owner's before
// ours.
type files []fs.FS

// read returns the first file of that name.
func (f files) read(name string) ([]byte, error) {
	for _, folder := range f {
		text, err := fs.ReadFile(folder, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fmt.Errorf("template %s: %w", name, fs.ErrNotExist)
}

// view returns the file of a view and its path. The views that every shop has may also be
// beside the pages in the shop owner's folder.
func (f files) view(name string) (file string, text []byte, err error) {
	names := []string{"views/" + name + ".html"}
	if _, always := ParseView(name); always {
		names = append(names, name+".html")
	}
	for _, folder := range f {
		for _, file := range names {
			text, err := fs.ReadFile(folder, file)
			if !errors.Is(err, fs.ErrNotExist) {
				return file, text, err
			}
		}
	}
	return "", nil, fmt.Errorf("template %s: %w", names[0], fs.ErrNotExist)
}

// list returns the sorted names, without extension, of the files with that extension in a
// subfolder of any folder.
func (f files) list(dir, ending string) ([]string, error) {
	found := map[string]bool{}
	for _, folder := range f {
		entries, err := fs.ReadDir(folder, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, entry := range entries {
			name := entry.Name()
			if entry.IsDir() || path.Ext(name) != ending || strings.HasPrefix(name, ".") {
				continue // an editor's own file, as .#card.html
			}
			found[strings.TrimSuffix(name, ending)] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// note adds a named text to a hash. No two lists of texts add the same bytes.
func note(sum hash.Hash, name string, text []byte) {
	fmt.Fprintf(sum, "%s\n%d\n", name, len(text))
	sum.Write(text)
}
