package layout

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/ttl"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files")

// Ensure that the bytes on disk never change without a new version.
func TestFormat_Golden(t *testing.T) {
	t.Parallel()
	s := Seed{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	name := []byte("sess:a")
	p := SlotOf(3, s.Hash(name))
	x := Header{Kind: storage.KindString, Deadline: 1_700_000_000_123, Indexed: 1_600_000_000_000, Revision: 77, Size: 512}
	encoded := make([]byte, HeaderSize)
	x.Encode(encoded)
	lower, upper := DBBounds(PrefixHeader, 3)
	_, last := DBBounds(PrefixHeader, MaxPhysicalDB)

	var got bytes.Buffer
	line := func(what string, b []byte) { fmt.Fprintf(&got, "%-12s %s\n", what, hex.EncodeToString(b)) }
	line("value key", AppendRecordKey(nil, PrefixValue, p, name))
	line("entry key", AppendRecordKey(nil, PrefixHeader, p, name))
	line("entry", encoded)
	line("index key", AppendIndexKey(nil, x.Indexed, p, name))
	line("space lower", lower)
	line("space upper", upper)
	line("last upper", last)
	line("format key", KeyFormat)
	line("seed key", KeySeed)
	line("fence key", KeyFence)
	line("followed key", KeyFollowed)
	line("revision key", KeyRevision)
	line("seen key", KeyClock)
	line("space key", Numbered(KeyPhysicalDB, 258))
	line("count key", Numbered(KeyCount, 258))
	line("count", EncodeCount(storage.Count{Records: 5, Expiring: -1}))
	fmt.Fprintf(&got, "versions     format %d, entry %d\n", FormatVersion, HeaderVersion)

	file := filepath.Join("testdata", "format.golden")
	if *updateGolden {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the format changed. got:\n%swant:\n%s", got.Bytes(), want)
	}
}

// Ensure that decodeEntry refuses what encode does not write.
func TestDecodeEntry_Refuses(t *testing.T) {
	t.Parallel()
	good := make([]byte, HeaderSize)
	Header{Kind: 1, Deadline: 9, Indexed: 8, Revision: 1, Size: 1}.Encode(good)
	change := func(at int, b byte) []byte {
		c := bytes.Clone(good)
		c[at] = b
		return c
	}
	tests := []struct {
		what string
		b    []byte
		want error
	}{
		{"nothing", nil, ErrDamaged},
		{"too short", good[:HeaderSize-1], ErrDamaged},
		{"too long", append(bytes.Clone(good), 0), ErrDamaged},
		{"version 0", change(0, 0), ErrDamaged},
		{"version 2", change(0, 2), ErrNewerFormat},
		{"negative deadline", change(2, 0x80), ErrDamaged},
		{"deadline without index", change(17, 0), ErrDamaged},
	}
	for _, tt := range tests {
		if _, err := DecodeHeader(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
	}
	if _, err := DecodeHeader(good); err != nil {
		t.Errorf("good entry: %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	b := make([]byte, HeaderSize)
	Header{Kind: 1, Deadline: 9, Indexed: 8, Revision: 1, Size: 1}.Encode(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeHeader(b)
		if err != nil {
			return
		}
		again := make([]byte, HeaderSize)
		if x.Encode(again); !bytes.Equal(again, b) {
			t.Errorf("encode(decode(%x)) = %x", b, again)
		}
	})
}

func FuzzSplitKeys(f *testing.F) {
	f.Add(AppendRecordKey(nil, PrefixHeader, SlotOf(1, 2), []byte("name")))
	f.Add(AppendIndexKey(nil, 5, SlotOf(1, 2), []byte("name")))
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, prefix := range []byte{PrefixHeader, PrefixValue} {
			if p, name, ok := SplitRecordKey(key, prefix); ok {
				again := AppendRecordKey(nil, prefix, SlotOf(p.PhysicalDB(), p.Hash()), name)
				if !bytes.Equal(again, key) {
					t.Errorf("position of %x = %x", key, again)
				}
			}
		}
		if due, p, name, ok := SplitIndexKey(key); ok {
			if again := AppendIndexKey(nil, due, p, name); !bytes.Equal(again, key) {
				t.Errorf("index of %x = %x", key, again)
			}
		}
	})
}

func FuzzDecodeCount(f *testing.F) {
	f.Add(EncodeCount(storage.Count{Records: 1, Expiring: -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCount(b); err == nil && !bytes.Equal(EncodeCount(c), b) {
			t.Errorf("encode(decode(%x)) = %x", b, EncodeCount(c))
		}
	})
}

// Ensure that keys sort by space, then hash, then name, and the index by time.
func TestFormat_Order(t *testing.T) {
	t.Parallel()
	ascending := [][]byte{
		AppendRecordKey(nil, PrefixHeader, SlotOf(0, HashMask), []byte("z")),
		AppendRecordKey(nil, PrefixHeader, SlotOf(1, 0), nil),
		AppendRecordKey(nil, PrefixHeader, SlotOf(1, 1), []byte("a")),
		AppendRecordKey(nil, PrefixHeader, SlotOf(1, 1), []byte("b")),
		AppendRecordKey(nil, PrefixHeader, SlotOf(MaxPhysicalDB, HashMask), bytes.Repeat([]byte{0xff}, 9)),
		AppendIndexKey(nil, 1, SlotOf(9, 9), []byte("z")),
		AppendIndexKey(nil, 256, SlotOf(0, 0), nil),
		AppendIndexKey(nil, ttl.Latest, SlotOf(0, 0), nil),
	}
	for i := 1; i < len(ascending); i++ {
		if bytes.Compare(ascending[i-1], ascending[i]) >= 0 {
			t.Errorf("key %d does not come before key %d", i-1, i)
		}
	}
}
