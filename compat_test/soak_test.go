package compat_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond/compat_test/proc"
)

// Ensure that one folder stays right for a long time: load of every mood, ends of every
// kind, backups in between, and everything checked after each restart. It is what
// TestCrash_KillUnderLoad does, with servers that live up to some seconds.
//
// SESSIOND_SOAK is how long, such as 10m; without it the test is skipped. It takes a mode
// of durability from SESSIOND_SOAK_DURABILITY.
func TestSoak(t *testing.T) {
	if os.Getenv("SESSIOND_SOAK") == "" {
		t.Skip("SESSIOND_SOAK=10m and the like run it")
	}
	howLong, err := time.ParseDuration(os.Getenv("SESSIOND_SOAK"))
	if err != nil {
		t.Fatalf("SESSIOND_SOAK: %v", err)
	}
	proc.OnlySessiond(t)
	flags := []string{smallCache}
	if mode := os.Getenv("SESSIOND_SOAK_DURABILITY"); mode != "" {
		flags = append(flags, "--durability", mode)
	}
	c, kinds := newCrash(t, proc.Start(t, flags...), 0), ends()
	kinds = append(kinds, end{"kill under large values", heavy, func(c *crash) { c.server.Kill() }})
	begin := time.Now()
	for minute := 1; time.Since(begin) < howLong; {
		c.round(c.withBackup(kinds[c.rng.IntN(len(kinds))]), 4*time.Second)
		if time.Since(begin) > time.Duration(minute)*time.Minute {
			t.Logf("minute %d, %d MB: %s", minute, folderSize(t, c.server.Dir)>>20, c.summary())
			minute++
		}
	}
}

// withBackup returns e with a backup some time before it, two times out of three.
func (c *crash) withBackup(e end) end {
	if c.rng.IntN(3) == 0 {
		return e
	}
	then := e.do
	e.do = func(c *crash) {
		out, err := exec.Command(proc.Require(c.t, "redis-cli"), "-p", c.server.Port, "BGSAVE").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "Background saving started") {
			c.t.Errorf("redis-cli BGSAVE: %q, %v", out, err)
		}
		c.pause(time.Second)
		then(c)
	}
	return e
}

// folderSize returns the bytes of all files in a folder that a server may be changing.
func folderSize(t *testing.T, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // gone meanwhile
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return size
}
