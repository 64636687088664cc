package backup

import (
	"reflect"
	"strings"
	"testing"
)

const goldenReceipt = `sessiond backup 2
data data-000007
made 1732323232323
format 1
store 00a1b2c3d4e5
records 0 99
records 3 1200
file 000012.sst 4096 1732323232000000000
file MANIFEST-000001 0 -1
end a90563c8
`

// Ensure that the receipt is written as drawn, and read back.
func TestReceipt_Golden(t *testing.T) {
	t.Parallel()
	v := receipt{
		data: "data-000007", made: 1732323232323, format: 1, store: 0xa1b2c3d4e5,
		records: map[int]int64{3: 1200, 0: 99},
		files:   []backupFile{{"000012.sst", 4096, 1732323232000000000}, {"MANIFEST-000001", 0, -1}},
	}
	if got := string(v.encode()); got != goldenReceipt {
		t.Errorf("encode = %q, want %q", got, goldenReceipt)
	}
	got, err := decodeReceipt([]byte(goldenReceipt))
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("decode = %+v, %v, want %+v", got, err, v)
	}
}

// Ensure that no part of a receipt passes for one, except for the first line, and that
// no file can lie outside the folder.
func TestReceipt_Damaged(t *testing.T) {
	t.Parallel()
	first := strings.Index(goldenReceipt, "\n") + 1
	for i := range len(goldenReceipt) {
		v, err := decodeReceipt([]byte(goldenReceipt[:i]))
		if (err == nil) != (i == first) || v.complete() {
			t.Errorf("%d bytes: %+v, %v", i, v, err)
		}
	}
	for i := first; i < len(goldenReceipt); i++ {
		for bit := range 8 {
			text := []byte(goldenReceipt)
			text[i] ^= 1 << bit
			if v, err := decodeReceipt(text); err == nil {
				t.Errorf("with bit %d of byte %d flipped: %+v", bit, i, v)
			}
		}
	}
	for _, name := range []string{"../x", "/x", "a/b", "..", "."} {
		v := receipt{data: "data-000007", records: map[int]int64{}, files: []backupFile{{name, 1, 1}}}
		if _, err := decodeReceipt(v.encode()); err == nil {
			t.Errorf("a file %q was accepted", name)
		}
	}
}

func FuzzDecodeReceipt(f *testing.F) {
	f.Add([]byte(goldenReceipt))
	f.Add(receipt{}.encode())
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := decodeReceipt(text)
		if err == nil && string(v.encode()) != string(text) {
			t.Errorf("%q comes back as %q", text, v.encode())
		}
	})
}
