package pebble

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// again appends a change that was read, as the program writes it.
func (c *logged) again(dst []byte, origin uint64) []byte {
	switch c.kind {
	case changeFlush:
		return appendFlush(dst, c.space)
	case changeSpaces:
		return c.spaces.appendChange(dst)
	case changeSeen:
		return appendSeen(dst, c.deadline)
	}
	b := before(0)
	if c.existed {
		b |= flagExisted
	}
	if c.expiring {
		b |= flagExpiring
	}
	now := entry{kind: c.record, deadline: c.deadline, revision: origin + c.revision, size: uint32(c.size)}
	switch c.kind {
	case changeDelete:
		return appendDelete(dst, b, c.place, c.name)
	case changePut:
		return appendPut(dst, b, c.place, now, origin, c.name, c.value)
	}
	return appendTouch(dst, b, c.place, now, origin, c.name)
}

// equal reports whether two changes are the same.
func (c *logged) equal(d *logged) bool {
	return c.kind == d.kind && c.revision == d.revision && c.existed == d.existed && c.expiring == d.expiring &&
		c.place == d.place && bytes.Equal(c.name, d.name) && bytes.Equal(c.value, d.value) && c.size == d.size && c.record == d.record &&
		c.deadline == d.deadline && c.space == d.space && maps.Equal(c.spaces, d.spaces)
}

// changesOf returns the changes in a payload. They share its memory.
func changesOf(payload []byte) (list []logged, err error) {
	err = eachChange(payload, func(c *logged) error {
		if !c.existed {
			c.expiring = false // it says nothing then
		}
		if c.kind >= changeFlush {
			c.existed, c.expiring = false, false
		}
		list = append(list, *c)
		return nil
	})
	return list, err
}

// encodeChanges writes changes as the program does.
func encodeChanges(list []logged, origin uint64) (payload []byte) {
	for i := range list {
		payload = list[i].again(payload, origin)
	}
	return payload
}

// sampleChanges returns a frame with each kind of change.
func sampleChanges() []logged {
	return []logged{
		{kind: changeFlush, space: 7},
		{kind: changePut, place: 1<<63 | 5, revision: 300, deadline: 1 << 41, record: storage.KindString, name: []byte("a"), value: []byte("value"), size: 5},
		{kind: changePut, place: 2, existed: true, expiring: true, deadline: ttl.Never, record: storage.KindString},
		{kind: changeTouch, place: 3, existed: true, expiring: true, revision: 1 << 40, deadline: 1, record: storage.KindString, size: 700, name: []byte("b")},
		{kind: changeDelete, place: 4, existed: true, name: bytes.Repeat([]byte("n"), 300)},
		{kind: changeSpaces, spaces: spaces{0: 3, 3: 65535}},
		{kind: changeSeen, deadline: ttl.Latest},
	}
}

// checkChanges holds the reading of a payload to what is true of any: it fails with ErrDamaged or
// yields changes that, written again, are read as the same, in no more room than was set aside.
func checkChanges(t *testing.T, payload []byte) {
	t.Helper()
	list, err := changesOf(payload)
	if err != nil && !errors.Is(err, ErrDamaged) {
		t.Errorf("%x: %v", payload, err)
	}
	for origin := range uint64(2) {
		written := encodeChanges(list, origin<<40)
		read, err := changesOf(written)
		if err != nil || len(read) != len(list) {
			t.Fatalf("%x: %d changes, written again %d: %v", payload, len(list), len(read), err)
		}
		for i := range list {
			if !list[i].equal(&read[i]) {
				t.Errorf("%x: change %d is %+v, and written again %+v", payload, i, list[i], read[i])
			}
		}
	}
}

// Ensure that the changes of a frame are read as they were written, and that no beginning of a frame
// and no flipped bit makes the reading do anything but fail or yield changes.
func TestFrame(t *testing.T) {
	t.Parallel()
	list := sampleChanges()
	payload := encodeChanges(list, 0)
	read, err := changesOf(payload)
	if err != nil || len(read) != len(list) {
		t.Fatalf("%d changes of %d: %v", len(read), len(list), err)
	}
	for i := range list {
		if !list[i].equal(&read[i]) {
			t.Errorf("change %d is %+v, want %+v", i, read[i], list[i])
		}
	}
	whole := map[int]bool{}
	for i := range list {
		whole[len(encodeChanges(list[:i], 0))] = true
	}
	for n := range payload {
		part, err := changesOf(payload[:n])
		if whole[n] != (err == nil) {
			t.Errorf("the first %d bytes: %d changes, %v", n, len(part), err)
		}
		for bit := range 8 {
			b := bytes.Clone(payload)
			b[n] ^= 1 << bit
			checkChanges(t, b)
		}
	}
}

// Ensure that mostChange and changeSize say how many bytes a change takes at most: the commit relies on it to tell
// whether the frame fits a segment.
func TestFrame_Size(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		name, value, p := make([]byte, rng.IntN(300)), make([]byte, rng.IntN(3000)), place(rng.Uint64())
		now := entry{deadline: ttl.Instant(rng.Uint64() >> 1), revision: rng.Uint64() | 1<<63, size: math.MaxUint32}
		for most, got := range map[int][]byte{
			mostChange(len(name), len(value)): appendPut(nil, beforeExpiry, p, now, 0, name, value),
			mostChange(len(name), 0):          appendTouch(nil, beforeExpiry, p, now, 0, name),
			mostChange(len(name), 0) + 1:      append(appendDelete(nil, beforeExpiry, p, name), 0),
		} {
			if len(got) > most {
				t.Errorf("%d bytes, at most %d were expected", len(got), most)
			}
		}
		s := spaces{}
		for range rng.IntN(200) {
			s[uint16(rng.Uint32())] = uint16(rng.Uint32())
		}
		if n := len(s.appendChange(nil)); n > s.changeSize() {
			t.Errorf("%d bytes of spaces, at most %d were expected", n, s.changeSize())
		}
	}
}

// FuzzFrame hands anything to who reads frames.
func FuzzFrame(f *testing.F) {
	f.Add(encodeChanges(sampleChanges(), 0))
	for _, c := range sampleChanges() {
		f.Add(c.again(nil, 0))
	}
	f.Add([]byte{byte(changeSpaces), 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add([]byte{byte(changePut), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1})
	f.Fuzz(checkChanges)
}
