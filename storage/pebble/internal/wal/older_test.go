package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// logOf makes a log with some frames in it and returns it.
func logOf(t *testing.T, config Config, payloads ...string) *Log {
	t.Helper()
	l := create(t, config)
	appendAll(t, l, payloads...)
	return l
}

// appendAll appends frames and hands them to the kernel.
func appendAll(t *testing.T, l *Log, payloads ...string) (end LSN) {
	t.Helper()
	for _, payload := range payloads {
		var err error
		if end, err = l.Append(framed(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	return end
}

// payloads opens the log and returns what is in its frames.
func payloads(t *testing.T, config Config, from LSN) (found []string, err error) {
	t.Helper()
	l, _, err := Open(config, from, func(f Frame) error {
		found = append(found, string(f.Payload))
		return nil
	})
	if err == nil {
		l.background.Wait()
	}
	return found, err
}

// Ensure that whoever needs frames that were released is told so, by Open and by Inspect, and that
// nothing is changed.
func TestOpen_Released(t *testing.T) {
	t.Parallel()
	d := newDisk()
	config := testConfig(d, &shared{})
	l := create(t, config)
	from := l.End()
	end := appendAll(t, l, "one", "two")
	if err := errors.Join(l.Sync(context.Background(), end), l.Release(end)); err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "three")
	l.background.Wait()
	before := d.copied()
	none := func(f Frame) error { return fmt.Errorf("%q is there", f.Payload) }
	if _, _, err := Open(config, from, none); !errors.Is(err, ErrReleased) {
		t.Errorf("Open = %v, want %v", err, ErrReleased)
	}
	if _, err := Inspect(config, from, none); !errors.Is(err, ErrReleased) {
		t.Errorf("Inspect = %v, want %v", err, ErrReleased)
	}
	for name, node := range before.files {
		if !bytes.Equal(d.files[name].data, node.data) {
			t.Errorf("%s was changed", name)
		}
	}
	for _, from := range []LSN{0, end} {
		if got, err := payloads(t, testConfig(d.copied(), nil), from); err != nil || !slices.Equal(got, []string{"three"}) {
			t.Errorf("from %d: %q, %v", from, got, err)
		}
	}
}

// Ensure that what a torn tail left behind does not come back if the control file is an older copy,
// of a life before: the frames that are no longer needed tell who wrote last.
func TestOpen_LeftBehind_OldControl(t *testing.T) {
	t.Parallel()
	d := newDisk()
	config := testConfig(d, nil)
	l := create(t, config)
	from := l.End()
	control := slices.Clone(d.files[d.Join(testDir, ControlName)].data)
	l.background.Wait()
	none := func(f Frame) error { return fmt.Errorf("%q is there", f.Payload) }
	l, _, err := Open(config, from, none)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, l, "torn", "left behind")
	l.background.Wait()
	d.files[d.Join(testDir, segmentName(1))].data[from%LSN(config.SegmentBytes)] ^= 1
	if l, _, err = Open(config, from, none); err != nil {
		t.Fatal(err)
	}
	end := appendAll(t, l, "anew")
	if err := errors.Join(l.Sync(context.Background(), end), l.Release(end), l.Close()); err != nil {
		t.Fatal(err)
	}
	d.files[d.Join(testDir, ControlName)].data = control
	if _, _, err := Open(config, end, none); err != nil {
		t.Error(err)
	}
}

// Ensure that without a mark, too, an older copy of the newest segment is not taken for the log: after
// a clean stop, and for what was noted.
func TestLog_Note(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		d := newDisk()
		config := testConfig(d, nil)
		l := logOf(t, config, "one")
		l.background.Wait()
		older := slices.Clone(d.files[d.Join(testDir, segmentName(1))].data)
		end := appendAll(t, l, "two")
		if err := errors.Join(l.Sync(context.Background(), end), l.Note()); err != nil {
			t.Fatal(err)
		}
		control := slices.Clone(d.files[d.Join(testDir, ControlName)].data)
		if err := l.Note(); err != nil || !bytes.Equal(control, d.files[d.Join(testDir, ControlName)].data) {
			t.Errorf("the same was noted again: %v", err)
		}
		if clean {
			appendAll(t, l, "three")
			older = slices.Clone(d.files[d.Join(testDir, segmentName(1))].data)
			appendAll(t, l, "four")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		whole := d.copied()
		d.files[d.Join(testDir, segmentName(1))].data = older
		got, err := payloads(t, config, 0)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), segmentName(1)) {
			t.Errorf("clean=%v: %q, %v; want %v and %s", clean, got, err, ErrDamaged, segmentName(1))
		}
		if got, err := payloads(t, testConfig(whole, nil), 0); err != nil || len(got) < 2 {
			t.Errorf("clean=%v: as it was: %q, %v", clean, got, err)
		}
	}
}

// Ensure that a refusal for want of a segment names a file that had it: not one that was never made.
func TestOpen_Damage_Names(t *testing.T) {
	t.Parallel()
	w := wear(t, false)
	newest := ""
	for name, node := range w.disk.files {
		if h, err := decodeSegmentHeader(node.data); err == nil && (newest == "" || h.begin > beginOf(t, w.disk, newest)) {
			newest = name
		}
	}
	name := newest[strings.LastIndex(newest, "/")+1:]
	for what, do := range map[string]func(*disk){
		"missing":       func(d *disk) { delete(d.files, newest) },
		"cut to 0":      func(d *disk) { d.files[newest].data = nil },
		"zeros":         func(d *disk) { clear(d.files[newest].data) },
		"a flipped bit": func(d *disk) { d.files[newest].data[33] ^= 4 },
		"no magic":      func(d *disk) { d.files[newest].data[0] ^= 4 },
	} {
		d := w.disk.copied()
		do(d)
		_, _, err := Open(testConfig(d, w.memory.after()), w.from, func(Frame) error { return nil })
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want %s", what, err, name)
		}
		var damage *Damage
		if what != "zeros" && errors.As(err, &damage) && damage.File != name { // zeros may be a spare
			t.Errorf("%s: %v, want %s alone", what, err, name)
		}
	}
}

func beginOf(t *testing.T, d *disk, name string) LSN {
	t.Helper()
	h, err := decodeSegmentHeader(d.files[name].data)
	if err != nil {
		t.Fatal(err)
	}
	return h.begin
}
