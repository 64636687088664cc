package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// salvage returns what Salvage reads.
func (w *worn) salvage(t *testing.T, d *disk) (got []written, gaps []Gap) {
	t.Helper()
	gaps, err := Salvage(testConfig(d, nil), w.from, func(f Frame) error {
		got = append(got, written{f.LSN, string(f.Payload)})
		return nil
	})
	if err != nil {
		t.Fatalf("Salvage: %v", err)
	}
	return got, gaps
}

// Ensure that of a log with one damaged frame, or without one file, everything else is read, and
// that each gap is told.
func TestSalvage(t *testing.T) {
	t.Parallel()
	w := wear(t, false)
	if got, gaps := w.salvage(t, w.disk.copied()); !slices.Equal(got, w.frames) || len(gaps) > 0 {
		t.Errorf("of a whole log %d of %d frames, gaps %v", len(got), len(w.frames), gaps)
	}
	size := LSN(4 << 10)
	file := func(lsn LSN) string { // the segments were begun in the order of their numbers
		return w.disk.Join(testDir, segmentName(int(lsn/size)))
	}
	begin := w.from
	for i, f := range w.frames {
		if f.end/size > begin/size { // the first one in its segment
			begin = f.end/size*size + segmentHead
		}
		d := w.disk.copied()
		d.files[file(begin)].data[begin%size+HeaderSize] ^= 1
		got, gaps := w.salvage(t, d)
		if want := slices.Delete(slices.Clone(w.frames), i, i+1); !slices.Equal(got, want) {
			t.Errorf("with frame %d damaged %d of %d frames are read", i, len(got), len(want))
		}
		last := i == len(w.frames)-1
		if len(gaps) != 1 && !last || len(gaps) == 1 && gaps[0].From != begin && gaps[0].Offset != 0 {
			t.Errorf("with frame %d at %d damaged: gaps %v", i, begin, gaps)
		}
		begin = f.end
	}
	for n := range 3 {
		d := w.disk.copied()
		lost := d.Join(testDir, segmentName(n+1))
		delete(d.files, lost)
		got, _ := w.salvage(t, d)
		want := slices.DeleteFunc(slices.Clone(w.frames), func(f written) bool { return file(f.end) == lost })
		if !slices.Equal(got, want) {
			t.Errorf("without %s %d of %d frames are read", lost, len(got), len(want))
		}
		d = w.disk.copied()
		clear(d.files[lost].data[:segmentHead])
		if got, _ := w.salvage(t, d); !slices.Equal(got, w.frames) {
			t.Errorf("without the header of %s %d of %d frames are read", lost, len(got), len(w.frames))
		}
	}
	d := w.disk.copied()
	delete(d.files, d.Join(testDir, ControlName))
	if got, gaps := w.salvage(t, d); !slices.Equal(got, w.frames) || len(gaps) > 0 {
		t.Errorf("without the control file %d of %d frames, gaps %v", len(got), len(w.frames), gaps)
	}
}

// Ensure that a copy holds what it was asked for, though the original goes on and gives up what
// it had; and that one can go on with it.
func TestLog_CopyTo(t *testing.T) {
	t.Parallel()
	d := newDisk()
	l := create(t, testConfig(d, nil))
	var frames []written
	add := func(l *Log, payload string) {
		t.Helper()
		end, err := l.Append(framed(payload))
		for errors.Is(err, ErrFull) {
			if err := errors.Join(l.Sync(context.Background(), l.End()), l.Release(l.End())); err != nil {
				t.Fatal(err)
			}
			end, err = l.Append(framed(payload))
		}
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, written{end, payload})
	}
	for i := range 12 {
		add(l, fmt.Sprint(i, strings.Repeat("x", 500)))
	}
	from := frames[3].end
	if err := errors.Join(l.Write(), l.Release(frames[2].end)); err != nil {
		t.Fatal(err)
	}
	free, err := l.Hold(from)
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(frames[4:])
	to := l.End()
	add(l, "behind it")
	if err := errors.Join(l.Sync(context.Background(), l.End()), l.Release(l.End())); err != nil {
		t.Fatal(err)
	}
	copied := newDisk()
	if err := l.CopyTo(copied, testDir, from, to); err != nil {
		t.Fatal(err)
	}
	free()
	for i := range 40 {
		add(l, fmt.Sprint("much later", i, strings.Repeat("x", 500)))
	}
	if _, err := l.Hold(from); !errors.Is(err, ErrMissing) {
		t.Errorf("Hold of what was given up = %v", err)
	}
	for range 2 {
		var got []written
		copy, _, err := Open(testConfig(copied, &shared{}), from, func(f Frame) error {
			got = append(got, written{f.LSN, string(f.Payload)})
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("the copy has %d of %d frames: %v", len(got), len(want), err)
		}
		add(copy, "goes on")
		want = append(want, frames[len(frames)-1])
		if err := copy.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
