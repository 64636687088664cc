package pebble

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
	s := seed{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	name := []byte("sess:a")
	p := placeOf(3, s.hash(name))
	x := entry{kind: storage.KindString, deadline: 1_700_000_000_123, indexed: 1_600_000_000_000, revision: 77, size: 512}
	encoded := make([]byte, entrySize)
	x.encode(encoded)
	lower, upper := spaceBounds(prefixEntry, 3)
	_, last := spaceBounds(prefixEntry, maxSpace)

	var got bytes.Buffer
	line := func(what string, b []byte) { fmt.Fprintf(&got, "%-12s %s\n", what, hex.EncodeToString(b)) }
	line("value key", appendPosition(nil, prefixValue, p, name))
	line("entry key", appendPosition(nil, prefixEntry, p, name))
	line("entry", encoded)
	line("index key", appendIndex(nil, x.indexed, p, name))
	line("space lower", lower)
	line("space upper", upper)
	line("last upper", last)
	line("format key", keyFormat)
	line("seed key", keySeed)
	line("fence key", keyFence)
	line("followed key", keyFollowed)
	line("revision key", keyRevision)
	line("seen key", keySeen)
	line("space key", numbered(keySpace, 258))
	line("count key", numbered(keyCount, 258))
	line("count", encodeCount(storage.Count{Records: 5, Expiring: -1}))
	fmt.Fprintf(&got, "versions     format %d, entry %d\n", formatVersion, entryVersion)

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
	good := make([]byte, entrySize)
	entry{kind: 1, deadline: 9, indexed: 8, revision: 1, size: 1}.encode(good)
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
		{"too short", good[:entrySize-1], ErrDamaged},
		{"too long", append(bytes.Clone(good), 0), ErrDamaged},
		{"version 0", change(0, 0), ErrDamaged},
		{"version 2", change(0, 2), ErrNewerFormat},
		{"negative deadline", change(2, 0x80), ErrDamaged},
		{"deadline without index", change(17, 0), ErrDamaged},
	}
	for _, tt := range tests {
		if _, err := decodeEntry(tt.b); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
	}
	if _, err := decodeEntry(good); err != nil {
		t.Errorf("good entry: %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	b := make([]byte, entrySize)
	entry{kind: 1, deadline: 9, indexed: 8, revision: 1, size: 1}.encode(b)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := decodeEntry(b)
		if err != nil {
			return
		}
		again := make([]byte, entrySize)
		if x.encode(again); !bytes.Equal(again, b) {
			t.Errorf("encode(decode(%x)) = %x", b, again)
		}
	})
}

func FuzzSplitKeys(f *testing.F) {
	f.Add(appendPosition(nil, prefixEntry, placeOf(1, 2), []byte("name")))
	f.Add(appendIndex(nil, 5, placeOf(1, 2), []byte("name")))
	f.Fuzz(func(t *testing.T, key []byte) {
		for _, prefix := range []byte{prefixEntry, prefixValue} {
			if p, name, ok := splitPosition(key, prefix); ok {
				again := appendPosition(nil, prefix, placeOf(p.space(), p.hash()), name)
				if !bytes.Equal(again, key) {
					t.Errorf("position of %x = %x", key, again)
				}
			}
		}
		if due, p, name, ok := splitIndex(key); ok {
			if again := appendIndex(nil, due, p, name); !bytes.Equal(again, key) {
				t.Errorf("index of %x = %x", key, again)
			}
		}
	})
}

func FuzzDecodeCount(f *testing.F) {
	f.Add(encodeCount(storage.Count{Records: 1, Expiring: -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := decodeCount(b); err == nil && !bytes.Equal(encodeCount(c), b) {
			t.Errorf("encode(decode(%x)) = %x", b, encodeCount(c))
		}
	})
}

// Ensure that keys sort by space, then hash, then name, and the index by time.
func TestFormat_Order(t *testing.T) {
	t.Parallel()
	ascending := [][]byte{
		appendPosition(nil, prefixEntry, placeOf(0, hashMask), []byte("z")),
		appendPosition(nil, prefixEntry, placeOf(1, 0), nil),
		appendPosition(nil, prefixEntry, placeOf(1, 1), []byte("a")),
		appendPosition(nil, prefixEntry, placeOf(1, 1), []byte("b")),
		appendPosition(nil, prefixEntry, placeOf(maxSpace, hashMask), bytes.Repeat([]byte{0xff}, 9)),
		appendIndex(nil, 1, placeOf(9, 9), []byte("z")),
		appendIndex(nil, 256, placeOf(0, 0), nil),
		appendIndex(nil, ttl.Latest, placeOf(0, 0), nil),
	}
	for i := 1; i < len(ascending); i++ {
		if bytes.Compare(ascending[i-1], ascending[i]) >= 0 {
			t.Errorf("key %d does not come before key %d", i-1, i)
		}
	}
}
