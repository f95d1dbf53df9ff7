package httpx

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
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
)

// Assets are the scripts, styles and pictures of the built-in pages, in memory. Path contains a hash of them, so that
// caches may keep what is below it for ever.
type Assets struct {
	sources []fs.FS
	current atomic.Pointer[assets]
}

// assets are the files as they were read at one time.
type assets struct {
	files map[string]asset
	hash  string
}

type asset struct {
	body []byte
	mime string
	etag string
}

// LoadAssets reads all files. Of two with the same name the first wins, so that a shop owner's file replaces a built-in
// one.
func LoadAssets(from ...fs.FS) (*Assets, error) {
	a := &Assets{sources: from}
	take, err := a.Reload()
	if err != nil {
		return nil, err
	}
	take()
	return a, nil
}

// Reload reads the files again. The caller decides when they are served, by calling take.
func (a *Assets) Reload() (take func(), err error) {
	next, err := readAssets(a.sources)
	return func() { a.current.Store(next) }, err
}

func readAssets(from []fs.FS) (*assets, error) {
	a := &assets{files: map[string]asset{}}
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

// CacheForever is the Cache-Control of an answer whose URL names its content.
const CacheForever = "public, max-age=31536000, immutable"

const hashLength = 12

// mimes are the types that a page depends on; the system's own table may lack them.
var mimes = map[string]string{
	".js":  "text/javascript; charset=utf-8",
	".css": "text/css; charset=utf-8",
	".svg": "image/svg+xml",
}

// Path returns the path that pages link to.
func (a *Assets) Path() string { return "/assets/" + a.current.Load().hash }

// Serve answers GET /assets/NAME, which may change with a release, and
// GET /assets/HASH/NAME, which may not.
func (a *Assets) Serve(c *fiber.Ctx) error {
	now := a.current.Load()
	name, cache := c.Params("*"), "public, max-age=300"
	if hash, rest, ok := strings.Cut(name, "/"); ok &&
		len(hash) == hashLength && strings.Trim(hash, "0123456789abcdef") == "" {
		name = rest
		if hash == now.hash {
			cache = CacheForever
		} else {
			cache = "no-store" // of another release or another snapshot, which is being rolled out or back
		}
	}
	file, ok := now.files[name]
	if !ok {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderCacheControl, cache)
	c.Set(fiber.HeaderETag, file.etag)
	c.Set(fiber.HeaderContentType, file.mime)
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*") // pages of other origins that embed modules fetch them with CORS
	if c.Get(fiber.HeaderIfNoneMatch) == file.etag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	return c.Send(file.body)
}
