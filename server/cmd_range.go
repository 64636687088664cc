package server

import (
	"github.com/sessiond/sessiond/server/resp"
	"github.com/sessiond/sessiond/storage"
)

// runStrLen reads the length without the value.
func runStrLen(c *call) error { return c.replyLength(c.readStat(1)) }

func (c *call) replyLength(r storage.Record, found bool, err error) error {
	if r, _, err = storage.AsString(r, found, err); err != nil {
		return err
	}
	c.out.Int(int64(r.Size))
	return nil
}

func runGetRange(c *call) error {
	start, ok := resp.ParseInt(c.args[2])
	if !ok {
		return errNotInteger
	}
	end, ok := resp.ParseInt(c.args[3])
	if !ok {
		return errNotInteger
	}
	r, _, err := c.readString(1)
	if err != nil {
		return err
	}
	from, to := sliceRange(start, end, int64(len(r.Value)))
	c.out.Bulk(r.Value[from:to])
	return nil
}

// sliceRange converts a range of GETRANGE, which is inclusive and in which negative numbers count
// from the end, into the bounds of a Go slice of n elements.
func sliceRange(start, end, n int64) (from, to int64) {
	if start < 0 && end < 0 && start > end {
		return 0, 0
	}
	if start < 0 {
		start = max(start+n, 0)
	}
	if end < 0 {
		end = max(end+n, 0)
	}
	end = min(end, n-1)
	if start > end {
		return 0, 0
	}
	return start, end + 1
}

// runAppend keeps the deadline. It creates the key even if the argument is empty.
func runAppend(c *call) error {
	r, _, err := c.findString(1)
	if err != nil {
		return err
	}
	size := len(r.Value) + len(c.args[2])
	if size > c.srv.settings.maxBulk() {
		return errTooLong
	}
	value := append(append(make([]byte, 0, size), r.Value...), c.args[2]...)
	if err := c.putString(1, value, r.Deadline); err != nil {
		return err
	}
	c.out.Int(int64(size))
	return nil
}

// runSetRange keeps the deadline. As in Redis, an empty argument changes nothing at any offset and
// does not create the key.
func runSetRange(c *call) error {
	offset, ok := resp.ParseInt(c.args[2])
	switch {
	case !ok:
		return errNotInteger
	case offset < 0:
		return errOffset
	}
	patch := c.args[3]
	if len(patch) == 0 {
		return c.replyLength(c.tx.Stat(c.key(1)))
	}
	r, _, err := c.findString(1)
	if err != nil {
		return err
	}
	if offset > int64(c.srv.settings.maxBulk()-len(patch)) {
		return errTooLong
	}
	value := overwrite(r.Value, int(offset), patch)
	if err := c.putString(1, value, r.Deadline); err != nil {
		return err
	}
	c.out.Int(int64(len(value)))
	return nil
}

// overwrite returns a copy of old with patch at offset. It pads a gap with zero bytes.
func overwrite(old []byte, offset int, patch []byte) []byte {
	value := make([]byte, max(len(old), offset+len(patch)))
	copy(value, old)
	copy(value[offset:], patch)
	return value
}
