package realtime

// A table has the sessions by a number that fits into what epoll keeps for a
// connection, and that is never given to another session: the slot in its lower
// half, and the turn that the slot is on in its upper.
type table struct {
	slots []slot
	free  []uint32
	used  int
}

type slot struct {
	session *session
	turn    uint32
}

func (t *table) add(s *session) {
	var at uint32
	if n := len(t.free); n > 0 {
		at, t.free = t.free[n-1], t.free[:n-1]
	} else {
		at = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
	}
	t.slots[at].session = s
	s.id = uint64(t.slots[at].turn)<<32 | uint64(at)
	t.used++
}

// get has the session of that number, or nil if it has ended.
func (t *table) get(id uint64) *session {
	at := uint32(id)
	if int(at) >= len(t.slots) || t.slots[at].turn != uint32(id>>32) {
		return nil
	}
	return t.slots[at].session
}

func (t *table) remove(s *session) {
	at := uint32(s.id)
	t.slots[at] = slot{turn: t.slots[at].turn + 1}
	t.free = append(t.free, at)
	t.used--
}

// all calls f for each session.
func (t *table) all(f func(*session)) {
	for _, slot := range t.slots {
		if slot.session != nil {
			f(slot.session)
		}
	}
}
