package tree

import (
	"errors"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble/internal/dirty"
	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
	"github.com/sessiond/sessiond/storage/pebble/internal/pebblefile"
	"github.com/sessiond/sessiond/ttl"
)

// StateOf returns a record that did not get another value, as the memory keeps it.
func StateOf(x layout.Header) dirty.State {
	return dirty.State{
		Kind: byte(x.Kind), Size: x.Size, Deadline: int64(x.Deadline), Indexed: int64(x.Indexed), Revision: x.Revision,
	}
}

// HeaderOf returns the header of a record that the memory has, which is the zero one if it is gone.
func HeaderOf(s dirty.State) layout.Header {
	if s.Gone {
		return layout.Header{}
	}
	return layout.Header{
		Kind: storage.Kind(s.Kind), Deadline: ttl.Instant(s.Deadline), Indexed: ttl.Instant(s.Indexed),
		Revision: s.Revision, Size: s.Size,
	}
}

// ReadHeader returns the header of a record as the tree has it. Key is scratch memory, which is
// returned for the next call.
func ReadHeader(db pebbledb.Reader, key []byte, s layout.HashSlot, name []byte) (x layout.Header, found bool, _ []byte, err error) {
	key = layout.AppendRecordKey(key[:0], layout.PrefixHeader, s, name)
	b, closer, err := db.Get(key)
	if errors.Is(err, pebbledb.ErrNotFound) {
		return layout.Header{}, false, key, nil
	}
	if err != nil {
		return layout.Header{}, false, key, pebblefile.ReadError("read entry", err)
	}
	x, err = layout.DecodeHeader(b)
	if closeErr := closer.Close(); err == nil {
		err = closeErr
	}
	return x, err == nil, key, err
}

// SetHeader writes the header of a record to b.
func SetHeader(b *pebbledb.Batch, s layout.HashSlot, name []byte, x layout.Header) error {
	op := b.SetDeferred(1+layout.SlotSize+len(name), layout.HeaderSize)
	layout.AppendRecordKey(op.Key[:0], layout.PrefixHeader, s, name)
	x.Encode(op.Value)
	return op.Finish()
}

func setValue(b *pebbledb.Batch, s layout.HashSlot, name, value []byte) error {
	op := b.SetDeferred(1+layout.SlotSize+len(name), len(value))
	layout.AppendRecordKey(op.Key[:0], layout.PrefixValue, s, name)
	copy(op.Value, value)
	return op.Finish()
}

func deleteRecordKey(b *pebbledb.Batch, prefix byte, s layout.HashSlot, name []byte) error {
	op := b.DeleteDeferred(1 + layout.SlotSize + len(name))
	layout.AppendRecordKey(op.Key[:0], prefix, s, name)
	return op.Finish()
}

// SetIndex writes an index entry to b.
func SetIndex(b *pebbledb.Batch, due ttl.Instant, s layout.HashSlot, name []byte) error {
	op := b.SetDeferred(1+8+layout.SlotSize+len(name), 0)
	layout.AppendIndexKey(op.Key[:0], due, s, name)
	return op.Finish()
}

func deleteIndex(b *pebbledb.Batch, due ttl.Instant, s layout.HashSlot, name []byte) error {
	op := b.DeleteDeferred(1 + 8 + layout.SlotSize + len(name))
	layout.AppendIndexKey(op.Key[:0], due, s, name)
	return op.Finish()
}

// emptyDB removes the records of a physical database. Their index entries stay for the sweeper.
func emptyDB(b *pebbledb.Batch, physical uint16) error {
	for _, prefix := range [...]byte{layout.PrefixValue, layout.PrefixHeader} {
		lower, upper := layout.DBBounds(prefix, physical)
		if err := b.DeleteRange(lower, upper, nil); err != nil {
			return err
		}
	}
	return nil
}

// Sum adds two sizes.
func Sum(a, b storage.Count) storage.Count {
	return storage.Count{Records: a.Records + b.Records, Expiring: a.Expiring + b.Expiring}
}
