package enginetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

// errUnless returns an error unless got is want.
func errUnless(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("error = %v, want %v", got, want)
	}
	return nil
}

func recordRules() []rule {
	return []rule{
		{"PutGet", "Get, Stat and Scan return what Put stored; Size is the length of the value.", checkPutGet},
		{"Absent", "An absent record is found=false and not an error.", checkAbsent},
		{"EmptyValue", "An empty value is a record, not an absence.", checkEmptyValue},
		{"Names", "A name is any bytes, the empty name included, and none is taken for another.", checkNames},
		{"BigValue", "A value of 1 MB comes back whole, and keeps its size when the deadline moves.", checkBigValue},
		{"PutReplaces", "Put replaces kind, value and deadline, whatever was there before.", checkPutReplaces},
		{"PutIgnores", "Put ignores the Size and the Revision of the record.", checkPutIgnores},
		{"SetDeadline", "SetDeadline moves the deadline and leaves kind and value alone.", checkSetDeadline},
		{"SetDeadlineAbsent", "SetDeadline returns ErrNotFound if there is no record, and makes none.", checkSetDeadlineAbsent},
		{"Delete", "Delete removes the record; deleting what is not there is no error.", checkDelete},
		{"Databases", "The same name in two databases is two records.", checkDatabases},
		{"DeadlineRange", "Each positive instant can be a deadline and is kept to the millisecond.", checkDeadlineRange},
		{"NoClock", "A record whose deadline is long past is there until it is swept.", checkNoClock},
		{"SlicesGoBack", "After Update the caller may change the slices it gave.", checkSlicesGoBack},
	}
}

func checkPutGet(s *subject) {
	rows := []row{{0, "a", "1", ttl.Never}, {0, "b", "two", 1_700_000_000_123}, {15, "c", "\x00\r\n\xff", 5}}
	s.put(rows...)
	s.holds(rows...)
	s.view(func(r storage.Reader) error {
		record, found, err := r.Get(key(0, "b"))
		if !found || string(record.Value) != "two" || record.Size != 3 {
			s.t.Errorf("Get = %+v, %v; want the value two of size 3", record, found)
		}
		return err
	}, key(0, "b"))
}

func checkAbsent(s *subject) {
	s.put(row{0, "ab", "1", ttl.Never})
	absent := key(0, "a")
	s.view(func(r storage.Reader) error {
		if _, found, err := r.Get(absent); found || err != nil {
			s.t.Errorf("Get = found %v, error %v; want false, nil", found, err)
		}
		if _, found, err := r.Stat(absent); found || err != nil {
			s.t.Errorf("Stat = found %v, error %v; want false, nil", found, err)
		}
		return nil
	}, absent)
}

func checkEmptyValue(s *subject) {
	s.put(row{0, "a", "", ttl.Never}, row{0, "b", "", 50})
	s.update(func(tx storage.Txn) error {
		return tx.Put(key(0, "c"), storage.Record{Kind: storage.KindString, Value: nil})
	}, key(0, "c"))
	s.holds(row{0, "a", "", ttl.Never}, row{0, "b", "", 50}, row{0, "c", "", ttl.Never})
}

func checkNames(s *subject) {
	names := []string{
		"", "\x00", "\x00\x00", "\x00\x01", "\x01", "a", "a\x00", "a\x00b", "ab", "b", "\xff", "\xff\xff", "\xff\x00",
		"a\r\n", "{tag}:1", "\xc3\xa9", strings.Repeat("n", 300), strings.Repeat("n", 301), strings.Repeat("\xff", 5000),
	}
	var rows []row
	for i, name := range names {
		rows = append(rows, row{i % 2, name, fmt.Sprint("value of ", i), ttl.Instant(i)})
	}
	s.put(rows...)
	s.holds(rows...)
	for len(rows) > 0 {
		s.remove(rows[0].key())
		rows = rows[1:]
		s.holds(rows...)
	}
}

func checkBigValue(s *subject) {
	value := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range value {
		value[i] = byte(rng.Uint32())
	}
	s.put(row{0, "big", string(value), 50}, row{0, "small", "s", 50})
	s.holds(row{0, "big", string(value), 50}, row{0, "small", "s", 50})
	s.setDeadline(key(0, "big"), 60)
	s.holds(row{0, "big", string(value), 60}, row{0, "small", "s", 50})
	s.put(row{0, "big", "b", 60})
	s.holds(row{0, "big", "b", 60}, row{0, "small", "s", 50})
}

func checkPutReplaces(s *subject) {
	k := key(0, "a")
	for _, want := range []storage.Record{
		{Kind: 1, Value: []byte("short"), Deadline: ttl.Never},
		{Kind: 2, Value: []byte("a longer value"), Deadline: 50},
		{Kind: 255, Value: []byte("v"), Deadline: 70},
		{Kind: 1, Value: []byte(""), Deadline: 60},
		{Kind: 1, Value: []byte("persistent"), Deadline: ttl.Never},
	} {
		s.update(func(tx storage.Txn) error { return tx.Put(k, want) }, k)
		got := s.contents()[idOf(k)]
		if got.kind != want.Kind || got.value != string(want.Value) || got.deadline != want.Deadline {
			s.t.Errorf("after Put(%+v) the record is %v", want, got)
		}
	}
}

func checkPutIgnores(s *subject) {
	k := key(0, "a")
	s.put(row{0, "b", "1", ttl.Never})
	s.update(func(tx storage.Txn) error {
		return tx.Put(k, storage.Record{Kind: storage.KindString, Value: []byte("abc"), Size: 77, Revision: revisionNobodyHas})
	}, k)
	r, _ := s.stat(k)
	if r.Size != 3 {
		s.t.Errorf("Size = %d, want 3", r.Size)
	}
	if r.Revision == revisionNobodyHas {
		s.t.Errorf("Revision = %d, which the caller chose", r.Revision)
	}
}

// revisionNobodyHas is more changes than a test makes.
const revisionNobodyHas = 1 << 60

func checkSetDeadline(s *subject) {
	for _, test := range []struct{ from, to ttl.Instant }{
		{ttl.Never, 50}, {50, 51}, {50, 5000}, {50, 49}, {50, 1}, {50, 50}, {50, ttl.Never},
		{ttl.Never, ttl.Never}, {50, ttl.Latest}, {ttl.Latest, 50},
	} {
		s.put(row{0, "a", "value", test.from})
		s.setDeadline(key(0, "a"), test.to)
		s.holds(row{0, "a", "value", test.to})
	}
}

func checkSetDeadlineAbsent(s *subject) {
	s.put(row{0, "deleted", "1", ttl.Never}, row{1, "elsewhere", "1", ttl.Never})
	s.remove(key(0, "deleted"))
	for _, name := range []string{"never there", "deleted", "elsewhere"} {
		_, err := s.engine.Update(s.t.Context(), scope([]storage.Key{key(0, name)}), func(tx storage.Txn) error {
			return tx.SetDeadline(key(0, name), 50)
		})
		s.isError(err, storage.ErrNotFound, "SetDeadline of "+name)
	}
	s.holds(row{1, "elsewhere", "1", ttl.Never})
}

func checkDelete(s *subject) {
	s.put(row{0, "a", "1", ttl.Never}, row{0, "b", "2", 50})
	s.remove(key(0, "a"))
	s.holds(row{0, "b", "2", 50})
	s.remove(key(0, "a"))
	s.remove(key(0, "never there"))
	s.holds(row{0, "b", "2", 50})
	s.remove(key(0, "b"))
	s.holds()
}

func checkDatabases(s *subject) {
	var rows []row
	for _, db := range databases() {
		rows = append(rows, row{db, "a", fmt.Sprint(db), ttl.Instant(db)})
	}
	s.put(rows...)
	s.holds(rows...)
	s.remove(key(0, "a"))
	s.setDeadline(key(1, "a"), 99)
	rows[1].deadline = 99
	s.holds(rows[1:]...)
}

func checkDeadlineRange(s *subject) {
	var rows []row
	for _, d := range []ttl.Instant{1, 2, 255, 256, 1<<32 - 1, 1 << 32, 1_700_000_000_123, 1 << 53, 1<<53 + 1, ttl.Latest - 1, ttl.Latest} {
		rows = append(rows, row{0, fmt.Sprint(d), "v", d})
	}
	s.put(rows...)
	s.holds(rows...)
	for i := range rows {
		rows[i].deadline = rows[len(rows)-1-i].deadline
		s.setDeadline(rows[i].key(), rows[i].deadline)
	}
	s.holds(rows...)
}

func checkNoClock(s *subject) {
	s.put(row{0, "a", "1", 1}, row{0, "b", "2", ttl.Never})
	s.setDeadline(key(0, "b"), 1)
	s.holds(row{0, "a", "1", 1}, row{0, "b", "2", 1})
}

func checkSlicesGoBack(s *subject) {
	k := key(0, "name")
	r := row{0, "name", "value", 50}.record()
	s.update(func(tx storage.Txn) error { return tx.Put(k, r) }, k)
	copy(k.Name, "XXXX")
	copy(r.Value, "XXXXX")
	s.holds(row{0, "name", "value", 50})
}

// isError reports an error unless errors.Is(err, want).
func (s *subject) isError(err, want error, what string) {
	s.t.Helper()
	if !errors.Is(err, want) {
		s.t.Errorf("%s: error = %v, want %v", what, err, want)
	}
}
