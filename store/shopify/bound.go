package shopify

import "io"

// maxLine is the limit of a line in bytes. A description of 200,000 characters of
// four bytes each leaves a quarter of it for all else. The CSV reader takes up to
// forty times as much memory, for a line of nothing but empty cells.
const maxLine = 1 << 20

// A bound lets through so many bytes and then ends with ErrLong. Without it a
// quote that is never closed would take the rest of the file into memory, and
// another kind of file might have no line at all.
type bound struct {
	r    io.Reader
	left int // the reader of lines sets it anew with each line
	over bool
}

func (b *bound) Read(p []byte) (int, error) {
	if b.over = b.over || b.left <= 0; b.over {
		return 0, ErrLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
