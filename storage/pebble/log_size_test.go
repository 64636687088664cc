package pebble

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sessiond/sessiond/ttl"
)

// Ensure that Log tells what a start would read again, and what this one has made again: as many
// changes as were made since the tables had everything, and none after a stop.
func TestEngine_Log(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrashableMem()
	e := openTest(t, fs, Options{LogBytes: 1 << 20})
	if log := e.Log(); log.Most != 1<<20 || log.Pending != 0 || log.Recovered != 0 {
		t.Errorf("Log of a new store = %+v", log)
	}
	const changes = 10
	for i := range changes {
		put(t, e, fmt.Sprint(i), "value", ttl.Never)
	}
	syncTo(t, e, e.newest())
	pending := e.Log().Pending
	if least := int64(changes * len("value")); pending < least || pending > 1<<20 {
		t.Errorf("%d bytes of the log are pending, want at least %d", pending, least)
	}
	killed := fs.CrashClone(vfs.CrashCloneCfg{})
	closeTest(t, e)

	e = openTest(t, killed, Options{})
	if log := e.Log(); log.Recovered != changes || log.Most != 1<<20 || log.Pending != pending {
		t.Errorf("Log after a kill = %+v, want %d changes and %d bytes pending", log, changes, pending)
	}
	closeTest(t, e)
	e = openTest(t, killed, Options{})
	if log := e.Log(); log.Recovered != 0 || log.Pending != 0 {
		t.Errorf("Log after a stop = %+v", log)
	}
	closeTest(t, e)
}

// Ensure that a log of every size that is allowed can be made, is not larger than was asked for,
// and that others are refused.
func TestOptions_LogBytes(t *testing.T) {
	t.Parallel()
	for size := int64(minLogBytes); size <= maxLogBytes; size = size*5/3 + 17 {
		checkLogSize(t, size)
	}
	checkLogSize(t, maxLogBytes)
	for _, size := range []int64{-1, 1, minLogBytes - 1, maxLogBytes + 1} {
		if _, err := Open(testDir, Options{FS: vfs.NewMem(), LogBytes: size}); err == nil {
			t.Errorf("a log of %d bytes is allowed", size)
		}
	}
}

func checkLogSize(t *testing.T, size int64) {
	t.Helper()
	e := openTest(t, vfs.NewMem(), Options{LogBytes: size})
	if most := e.Log().Most; most > size || most < size/16*15 {
		t.Errorf("the log takes up to %d bytes, and %d were asked for", most, size)
	}
	closeTest(t, e)
}

// Ensure that a store keeps the size of its log, and that this is told to who asks for another.
func TestOptions_LogBytes_Stays(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	closeTest(t, openTest(t, fs, Options{LogBytes: 1 << 20}))
	for _, tt := range []struct {
		asked int64
		told  bool
	}{{0, false}, {1 << 20, false}, {2 << 20, true}} {
		var log bytes.Buffer
		e := openTest(t, fs, Options{LogBytes: tt.asked, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if most := e.Log().Most; most != 1<<20 {
			t.Errorf("asked for %d bytes, the log takes up to %d", tt.asked, most)
		}
		closeTest(t, e)
		if told := strings.Contains(log.String(), "the log keeps the size"); told != tt.told {
			t.Errorf("asked for %d bytes, told = %v: %s", tt.asked, told, log.String())
		}
	}
}
