package bus

// Failing reports whether the subscription is down.
func (b *Redis) Failing() bool { return b.failing.Load() }
