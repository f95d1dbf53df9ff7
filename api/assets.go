package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"maps"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Assets are the scripts, styles and pictures of our pages, in memory. Below
// their Path, which names their content, they may be cached for ever.
type Assets struct {
	files map[string]asset
	hash  string
}

type asset struct {
	body []byte
	mime string
	etag string
}

// LoadAssets reads all files; of two with the same name the first wins, so that
// a shop owner's stand before ours.
func LoadAssets(from ...fs.FS) (*Assets, error) {
	a := &Assets{files: map[string]asset{}}
	for _, files := range from {
		err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if _, had := a.files[name]; had {
				return nil
			}
			body, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(body)
			a.files[name] = asset{
				body: body,
				mime: cmp.Or(mimes[path.Ext(name)], mime.TypeByExtension(path.Ext(name)), "application/octet-stream"),
				etag: `"` + hex.EncodeToString(sum[:8]) + `"`,
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		all.Write([]byte(name + a.files[name].etag))
	}
	a.hash = hex.EncodeToString(all.Sum(nil))[:hashLength]
	return a, nil
}

const hashLength = 12

// mimes are those that a page depends on; a system's own table may lack them.
var mimes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// Path is the path that pages link to.
func (a *Assets) Path() string { return "/assets/" + a.hash }

// serve answers GET /assets/NAME, which may change with a release, and
// GET /assets/HASH/NAME, which may not.
func (a *Assets) serve(c *fiber.Ctx) error {
	name, cache := c.Params("*"), "public, max-age=300"
	if hash, rest, ok := strings.Cut(name, "/"); ok && len(hash) == hashLength && strings.Trim(hash, "0123456789abcdef") == "" {
		name = rest
		if hash == a.hash {
			cache = forEver
		} else {
			cache = "no-store" // of another release, which is on its way in or out
		}
	}
	file, ok := a.files[name]
	if !ok {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderCacheControl, cache)
	c.Set(fiber.HeaderETag, file.etag)
	c.Set(fiber.HeaderContentType, file.mime)
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*") // modules are fetched so by the pages that embed them
	if c.Get(fiber.HeaderIfNoneMatch) == file.etag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	return c.Send(file.body)
}
