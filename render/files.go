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

// files are folders of which the first that has a file stands before the
// others: the shop owner's before ours.
type files []fs.FS

// read has the first file of that name.
func (f files) read(name string) ([]byte, error) {
	for _, folder := range f {
		text, err := fs.ReadFile(folder, name)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return nil, fmt.Errorf("template %s: %w", name, fs.ErrNotExist)
}

// view has the file of a view, and where it is. The two that there always are
// may lie beside the pages, too, in the shop owner's folder.
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

// list has the names, without their ending, of the files in a subfolder that
// have that ending, of all folders, sorted.
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

// note adds a named text to a sum, so that no two lists of texts add the same.
func note(sum hash.Hash, name string, text []byte) {
	fmt.Fprintf(sum, "%s\n%d\n", name, len(text))
	sum.Write(text)
}
