package layout

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
func (c *Change) again(dst []byte, origin uint64) []byte {
	switch c.Kind {
	case ChangeFlush:
		return AppendFlush(dst, c.PhysicalDB)
	case ChangePhysicalDBs:
		return c.PhysicalDBs.AppendChange(dst)
	case ChangeClock:
		return AppendClock(dst, c.Deadline)
	}
	b := Before(0)
	if c.existed {
		b |= flagExisted
	}
	if c.expiring {
		b |= flagExpiring
	}
	now := Header{Kind: c.Record, Deadline: c.Deadline, Revision: origin + c.Revision, Size: uint32(c.Size)}
	switch c.Kind {
	case ChangeDelete:
		return AppendDelete(dst, b, c.Slot, c.Name)
	case ChangePut:
		return AppendPut(dst, b, c.Slot, now, origin, c.Name, c.Value)
	}
	return AppendTouch(dst, b, c.Slot, now, origin, c.Name)
}

// equal reports whether two changes are the same.
func (c *Change) equal(d *Change) bool {
	return c.Kind == d.Kind && c.Revision == d.Revision && c.existed == d.existed && c.expiring == d.expiring &&
		c.Slot == d.Slot && bytes.Equal(c.Name, d.Name) && bytes.Equal(c.Value, d.Value) && c.Size == d.Size && c.Record == d.Record &&
		c.Deadline == d.Deadline && c.PhysicalDB == d.PhysicalDB && maps.Equal(c.PhysicalDBs, d.PhysicalDBs)
}

// changesOf returns the changes in a payload. They share its memory.
func changesOf(payload []byte) (list []Change, err error) {
	err = EachChange(payload, func(c *Change) error {
		if !c.existed {
			c.expiring = false // it says nothing then
		}
		if c.Kind >= ChangeFlush {
			c.existed, c.expiring = false, false
		}
		list = append(list, *c)
		return nil
	})
	return list, err
}

// encodeChanges writes changes as the program does.
func encodeChanges(list []Change, origin uint64) (payload []byte) {
	for i := range list {
		payload = list[i].again(payload, origin)
	}
	return payload
}

// sampleChanges returns a frame with each kind of change.
func sampleChanges() []Change {
	return []Change{
		{Kind: ChangeFlush, PhysicalDB: 7},
		{Kind: ChangePut, Slot: 1<<63 | 5, Revision: 300, Deadline: 1 << 41, Record: storage.KindString, Name: []byte("a"), Value: []byte("value"), Size: 5},
		{Kind: ChangePut, Slot: 2, existed: true, expiring: true, Deadline: ttl.Never, Record: storage.KindString},
		{Kind: ChangeTouch, Slot: 3, existed: true, expiring: true, Revision: 1 << 40, Deadline: 1, Record: storage.KindString, Size: 700, Name: []byte("b")},
		{Kind: ChangeDelete, Slot: 4, existed: true, Name: bytes.Repeat([]byte("n"), 300)},
		{Kind: ChangePhysicalDBs, PhysicalDBs: PhysicalDBs{0: 3, 3: 65535}},
		{Kind: ChangeClock, Deadline: ttl.Latest},
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
		name, value, p := make([]byte, rng.IntN(300)), make([]byte, rng.IntN(3000)), HashSlot(rng.Uint64())
		now := Header{Deadline: ttl.Instant(rng.Uint64() >> 1), Revision: rng.Uint64() | 1<<63, Size: math.MaxUint32}
		for most, got := range map[int][]byte{
			MostChange(len(name), len(value)): AppendPut(nil, BeforeExpiry, p, now, 0, name, value),
			MostChange(len(name), 0):          AppendTouch(nil, BeforeExpiry, p, now, 0, name),
			MostChange(len(name), 0) + 1:      append(AppendDelete(nil, BeforeExpiry, p, name), 0),
		} {
			if len(got) > most {
				t.Errorf("%d bytes, at most %d were expected", len(got), most)
			}
		}
		s := PhysicalDBs{}
		for range rng.IntN(200) {
			s[uint16(rng.Uint32())] = uint16(rng.Uint32())
		}
		if n := len(s.AppendChange(nil)); n > s.MostChange() {
			t.Errorf("%d bytes of spaces, at most %d were expected", n, s.MostChange())
		}
	}
}

// FuzzFrame hands anything to who reads frames.
func FuzzFrame(f *testing.F) {
	f.Add(encodeChanges(sampleChanges(), 0))
	for _, c := range sampleChanges() {
		f.Add(c.again(nil, 0))
	}
	f.Add([]byte{byte(ChangePhysicalDBs), 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Add([]byte{byte(ChangePut), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1})
	f.Fuzz(checkChanges)
}
