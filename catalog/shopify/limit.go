package shopify

import "io"

// maxLine is the limit of a line in bytes. A description of 200,000 characters of four
// bytes each leaves a quarter of it for all else. The CSV reader needs up to forty
// times as much memory, for a line of nothing but empty cells.
const maxLine = 1 << 20

// A limitReader returns ErrLineTooLong after left bytes. Without it a quote that is
// never closed would read the rest of the file into memory, and a file of another kind
// might have no line ends at all.
type limitReader struct {
	r        io.Reader
	left     int // the caller resets it before each line
	exceeded bool
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.exceeded = l.exceeded || l.left <= 0; l.exceeded {
		return 0, ErrLineTooLong
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
