package sessiond_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/sessiond/sessiond"
	"github.com/sessiond/sessiond/ttl"
)

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
