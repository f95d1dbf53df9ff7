package realtime

import (
	"testing"

	"shelfcast/testkit"
)

func TestMain(m *testing.M) {
	if browse() {
		return // this is the browsers' process of a benchmark
	}
	testkit.Main(m)
}
