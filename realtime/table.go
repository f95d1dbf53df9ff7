package realtime

import "math/bits"

// A table has the sessions by a number that fits into what epoll keeps for a
// connection, and that is never given to another session: the slot in its lower
// half, and the turn that the slot is on in its upper.
type table struct {
	slots []slot
	free  []uint32
	used  int
	marks marks // of the next take
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
		if at%64 == 0 {
			t.marks = append(t.marks, 0)
		}
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
	at := s.slot()
	t.slots[at] = slot{turn: t.slots[at].turn + 1}
	t.free = append(t.free, at)
	t.used--
}

// mark has the session of that slot among those of the next take.
func (t *table) mark(at uint32) { t.marks.set(at) }

// take has all that are marked, and takes the marks away. They come in the order
// of their slots, which is about that in which they joined: the kernel's memory
// for their sockets is in that order too, and a twentieth of a delivery's cost
// is waiting for it.
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

// marks are a bit a slot.
type marks []uint64

func (m marks) set(at uint32) { m[at/64] |= 1 << (at % 64) }

// grow makes it as long as that at least.
func (m marks) grow(length int) marks {
	return append(m, make(marks, max(length-len(m), 0))...)
}

func (m marks) count() (n int) {
	for _, word := range m {
		n += bits.OnesCount64(word)
	}
	return n
}
