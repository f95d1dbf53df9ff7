package realtime

import "math/bits"

// A table has the sessions by an id that fits into an epoll event and is never reused: the
// lower half is the slot, the upper half counts the sessions that have had the slot.
type table struct {
	slots []slot
	free  []uint32
	used  int
	marks marks // of the next take
}

type slot struct {
	session *session
	turn    uint32 // of the next id
}

func (t *table) add(s *session) {
	var at uint32
	if n := len(t.free); n > 0 {
		at, t.free = t.free[n-1], t.free[:n-1]
	} else {
		at = uint32(len(t.slots))
		t.slots = append(t.slots, slot{})
		if at%64 == 0 {
			t.marks = append(t.marks, 0)
		}
	}
	t.slots[at].session = s
	s.id = uint64(t.slots[at].turn)<<32 | uint64(at)
	t.used++
}

// get returns the session with that id, or nil if it has ended.
func (t *table) get(id uint64) *session {
	at := uint32(id)
	if int(at) >= len(t.slots) || t.slots[at].turn != uint32(id>>32) {
		return nil
	}
	return t.slots[at].session
}

func (t *table) remove(s *session) {
	at := s.slot()
	t.slots[at] = slot{turn: t.slots[at].turn + 1}
	t.free = append(t.free, at)
	t.used--
}

// mark adds the session in that slot to those that take returns.
func (t *table) mark(at uint32) { t.marks.set(at) }

// take returns the marked sessions and clears the marks. They are in the order of their slots,
// which is roughly the order in which they joined, and so roughly the order of the kernel's
// memory for their sockets: waiting for that memory is a twentieth of a delivery's cost.
func (t *table) take(room int) []*session {
	marked := make([]*session, 0, room)
	for i, word := range t.marks {
		for ; word != 0; word &= word - 1 {
			marked = append(marked, t.slots[i*64+bits.TrailingZeros64(word)].session)
		}
		t.marks[i] = 0
	}
	return marked
}

// all calls f for each session.
func (t *table) all(f func(*session)) {
	for _, slot := range t.slots {
		if slot.session != nil {
			f(slot.session)
		}
	}
}

// marks is a set of slots, with a bit for each.
type marks []uint64

func (m marks) set(at uint32) { m[at/64] |= 1 << (at % 64) }

// grow returns marks of at least that length.
func (m marks) grow(length int) marks {
	return append(m, make(marks, max(length-len(m), 0))...)
}

func (m marks) count() (n int) {
	for _, word := range m {
		n += bits.OnesCount64(word)
	}
	return n
}
