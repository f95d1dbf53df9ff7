// Package doctor checks the settings of an instance, MySQL, Redis and the machine, and explains
// what is wrong, what it causes and how to fix it. It only reads.
package doctor

import (
	"context"
	"time"

	"shelfcast/server"
)

// Options are what doctor needs besides the settings of an instance.
type Options struct {
	Instances int           // that are to run; 2
	Limit     time.Duration // of each server; 10s
	Files     uint64        // that a process may open; 0: the system's limit
}

// Examine looks at everything. What cannot be looked at is a finding too.
func Examine(ctx context.Context, s server.Settings, o Options) Report {
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
