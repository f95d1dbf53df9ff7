package realtime_test

import (
	"fmt"
	"os"

	"shelfcast/realtime"
)

// A response to a poll that covers only the first two of the requested products.
func ExampleFrame() {
	frame := realtime.Frame(realtime.Notify, [][]byte{
		[]byte(`{"id":42,"version":7,"view":"card"}`),
		[]byte(`{"id":43,"version":9,"view":"card"}`),
	}, 2)
	_, err := frame.WriteTo(os.Stdout)
	fmt.Println()
	fmt.Println(err)
	// Output:
	// {"changed":[{"id":42,"version":7,"view":"card"},{"id":43,"version":9,"view":"card"}],"next":2}
	// <nil>
}
