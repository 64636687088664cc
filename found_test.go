package sessiond_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
)

// Ensure that a relative folder is told as an absolute one, with what was there: a start from
// another working folder shows as a new store.
func TestStore_Found(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	t.Chdir(here)
	wantFound(t, sessiond.Found{Dir: filepath.Join(here, "data"), New: true})
	wantFound(t, sessiond.Found{Dir: filepath.Join(here, "data"), Sessions: 2})
	t.Chdir(there)
	wantFound(t, sessiond.Found{Dir: filepath.Join(there, "data"), New: true})
}

// wantFound opens the store in data, compares, and leaves a session more in databases 0 and 15.
func wantFound(t *testing.T, want sessiond.Found) {
	t.Helper()
	store, err := sessiond.Open("data", sessiond.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, db := range []int{0, 15} {
		if err := store.DB(db).Set(t.Context(), "k", []byte("v"), time.Hour); err != nil {
			t.Error(err)
		}
	}
	if got := store.Found(); got != want {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}

// Ensure that errors name folders as absolute paths.
func TestErrors_NameAbsoluteFolders(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("letter", []byte("Dear Ada,"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	open := func(options sessiond.Options) error {
		_, err := sessiond.Open("letter", options)
		return err
	}
	backup := func() error {
		store, err := sessiond.Open("data", sessiond.Options{})
		if err != nil {
			return err
		}
		_, err = store.Backup(ctx, "letter", sessiond.BackupOptions{})
		return errors.Join(err, store.Close())
	}
	_, closedErr := sessiond.Backup(ctx, "letter", "new", sessiond.Options{}, sessiond.BackupOptions{})
	_, restoreErr := sessiond.Restore(ctx, "letter", "new", sessiond.RestoreOptions{})
	_, checkErr := sessiond.Check(ctx, "letter", sessiond.CheckOptions{})
	_, repairErr := sessiond.Repair(ctx, "letter", "new", sessiond.RepairOptions{})
	for name, err := range map[string]error{
		"Open":         open(sessiond.Options{}),
		"Open, wrong":  open(sessiond.Options{Databases: -1}),
		"Store.Backup": backup(),
		"Backup":       closedErr,
		"Restore":      restoreErr,
		"Check":        checkErr,
		"Repair":       repairErr,
	} {
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "letter")) {
			t.Errorf("%s: %v, want an error about %s", name, err, filepath.Join(dir, "letter"))
		}
	}
}
