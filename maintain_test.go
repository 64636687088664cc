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
	"github.com/sessiond/sessiond/ttl"
)

// Ensure that Found has a relative folder as an absolute one and says what was there: a start in another
// working folder shows as a new store.
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

// Ensure that a backup brings back what there was, with its deadlines, and that the store
// it was made of goes on; that a closed one is copied, too; and that nothing is made of
// nothing.
func TestStore_Backup_Restore(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	clock := ttl.NewManual(1_000_000)
	store, err := sessiond.Open(at("data"), sessiond.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	db := store.DB(2)
	if err := db.Set(ctx, "k", []byte("then"), time.Minute); err != nil {
		t.Fatal(err)
	}
	report, err := store.Backup(ctx, at("copy"), sessiond.BackupOptions{})
	if err != nil || report.Made != 1_000_000 || report.Records[2] != 1 {
		t.Fatalf("Backup = %+v, %v", report, err)
	}
	if err := db.Set(ctx, "k", []byte("later"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Backup(ctx, at("copy"), sessiond.BackupOptions{}); !errors.Is(err, sessiond.ErrClosed) {
		t.Errorf("Backup after Close: %v", err)
	}
	if _, err := sessiond.Backup(ctx, at("data"), at("later"), sessiond.Options{}, sessiond.BackupOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := sessiond.Backup(ctx, at("nothing"), at("later"), sessiond.Options{}, sessiond.BackupOptions{}); !errors.Is(err, sessiond.ErrNoStore) {
		t.Errorf("backup of nothing: %v", err)
	}
	for from, want := range map[string]string{"copy": "then", "later": "later"} {
		to := at("restored-" + from)
		if report, err = sessiond.Restore(ctx, at(from), to, sessiond.RestoreOptions{}); err != nil || report.Records[2] != 1 {
			t.Fatalf("Restore = %+v, %v", report, err)
		}
		restored, err := sessiond.Open(to, sessiond.Options{Clock: ttl.NewManual(1_000_000)})
		if err != nil {
			t.Fatal(err)
		}
		value, _, err := restored.DB(2).Get(ctx, "k")
		if string(value) != want || err != nil {
			t.Errorf("%s: k = %q, %v, want %q", from, value, err, want)
		}
		if left, _, err := restored.DB(2).TTL(ctx, "k"); left != time.Minute || err != nil {
			t.Errorf("%s: k has %v, %v, want a minute", from, left, err)
		}
		if err := restored.Close(); err != nil {
			t.Error(err)
		}
	}
}
