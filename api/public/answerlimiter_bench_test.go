package public

import (
	"io"
	"runtime"
	"testing"
)

// BenchmarkSlowReaders measures the memory of a hundred polls for 100 products in the detail view, 40 KB each, while
// nobody reads the answers, in MB.
func BenchmarkSlowReaders(b *testing.B) {
	f := newTestShopWithHub(b, nil)
	path := "/live/poll?watch=" + unseen(listOf("detail", f.large(100, 40<<10)))
	f.ask("GET", path)
	for b.Loop() {
		before := heap()
		var conns []io.ReadCloser
		for range 100 {
			conn := f.dial(path, "192.0.2.1")
			if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil { // it has begun
				b.Fatal(err)
			}
			conns = append(conns, conn)
		}
		b.ReportMetric(float64(heap()-before)/1e6, "MB")
		for _, conn := range conns {
			conn.Close()
		}
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
