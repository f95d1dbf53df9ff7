// Package doctor looks at the settings of an instance and at what it is going to
// stand on, and says what is wrong, what that leads to and how to mend it. It
// only reads: neither the database nor Redis is another one afterwards.
package doctor

import (
	"context"
	"time"

	"shelfcast/cmd/shelfcast/serve"
)

// Options are what the settings of an instance do not say.
type Options struct {
	Instances int           // that are to run; 2
	Limit     time.Duration // of each server; 10s
	Files     uint64        // that a process may open; 0: as the system says
}

// Examine looks at everything. What cannot be looked at is a finding too.
func Examine(ctx context.Context, s serve.Settings, o Options) Report {
	if o.Instances <= 0 {
		o.Instances = 2
	}
	if o.Limit <= 0 {
		o.Limit = 10 * time.Second
	}
	var r Report
	r.settings(s)
	r.system(s, o)
	shop := r.mysql(ctx, s, o)
	r.redis(ctx, s, o, shop)
	return r
}
