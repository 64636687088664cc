package sessiond

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/storage/pebble"
)

// What Backup and Restore take and return.
type (
	// BackupReport describes a copy that Backup made or Restore brought back.
	BackupReport = pebble.BackupReport
	// BackupOptions changes how Backup works. The zero value is ready to use.
	BackupOptions = pebble.BackupOptions
	// RestoreOptions changes how Restore works. The zero value is ready to use.
	RestoreOptions = pebble.RestoreOptions
)

// Errors of Backup and Restore to compare with errors.Is.
var (
	// ErrIncomplete is returned by Restore when the folder holds no complete backup.
	ErrIncomplete = pebble.ErrIncomplete
	// ErrNoStore is returned by Backup when there is nothing to copy.
	ErrNoStore = pebble.ErrNoStore
)

// Backup copies the sessions, as they are at one instant, into the folder to, which must be
// absent or empty or hold an earlier backup: that one is replaced when the new one is
// complete, and not before. The Store goes on working meanwhile. What the earlier backup
// has already is not copied again, and on the file system of the Store nearly nothing is:
// there the copy shares most of its files with the Store, so it protects from mistakes, but
// not from the loss of the disk.
//
// One backup is made at a time; others wait. Close and the end of ctx call it off.
func (s *Store) Backup(ctx context.Context, to string, options BackupOptions) (BackupReport, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if s.closed {
		return BackupReport{}, ErrClosed
	}
	engine, ok := s.engine.(backuper)
	if !ok {
		return BackupReport{}, errors.New("this store is backed up by other means")
	}
	if err := paths.Absolute(&to); err != nil {
		return BackupReport{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.open, cancel)()
	report, err := engine.Backup(ctx, to, options)
	if err != nil {
		return BackupReport{}, err
	}
	s.options.Logger.Info("a backup was made", "dir", to, "bytes", report.Bytes, "copied", report.Copied)
	return report, nil
}

// backuper is an engine that can be copied while it works.
type backuper interface {
	Backup(ctx context.Context, dir string, opts BackupOptions) (BackupReport, error)
}

// save is what SAVE and BGSAVE do.
func (s *Store) save(ctx context.Context) error {
	to := s.options.BackupDir
	if to == "" {
		to = filepath.Join(s.dir, "backup")
	}
	_, err := s.Backup(ctx, to, BackupOptions{})
	return err
}

// Backup is Store.Backup for the folder dir, which no Store may have open.
func Backup(ctx context.Context, dir, to string, options Options, backup BackupOptions) (BackupReport, error) {
	if err := paths.Absolute(&dir, &to); err != nil {
		return BackupReport{}, err
	}
	return pebble.BackupClosed(ctx, dir, to, pebble.Options{
		Clock: options.Clock, Logger: options.Logger, OnFailure: options.OnFailure,
	}, backup)
}

// Restore makes a folder for Open out of the backup in the folder from, which it does not
// change. The folder dir must be absent or empty. The copy is read and must be in order.
// Sessions that were ended after the instant of the backup are back, until their deadlines.
//
// Until Restore returns, dir is nothing that Open would open; a Restore that was interrupted
// can be begun again.
func Restore(ctx context.Context, from, dir string, options RestoreOptions) (BackupReport, error) {
	if err := paths.Absolute(&from, &dir); err != nil {
		return BackupReport{}, err
	}
	return pebble.Restore(ctx, from, dir, options)
}
