package realtime

import (
	"testing"

	"shelfcast/store/storetest"
)

func TestMain(m *testing.M) {
	if browse() {
		return // this is the browsers' process of a benchmark
	}
	storetest.Main(m)
}
