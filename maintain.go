package sessiond

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
)

// Found is what Open found.
type Found struct {
	// Dir is the folder as an absolute path: a relative one, given from another working
	// folder, leads to another store.
	Dir string
	// New says that there was no store in Dir, so that Open made it.
	New bool
	// Sessions is how many sessions the databases had, all of them together. Those whose
	// deadline has passed and which are not removed yet are among them.
	Sessions int64
}

// Found returns what Open found, which does not change later.
func (s *Store) Found() Found { return s.found }

// creator is an engine that knows whether it made its store.
type creator interface {
	Created() bool
}

// look fills in what the Store found.
func (s *Store) look() error {
	s.found.Dir = s.dir
	if engine, ok := s.engine.(creator); ok {
		s.found.New = engine.Created()
	}
	_, err := s.keyspace.View(context.Background(), storage.Scope{}, func(tx *storage.Tx) error {
		s.found.Sessions = 0 // it may be the second attempt
		for db := range s.options.Databases {
			count, err := tx.Len(db)
			if err != nil {
				return err
			}
			s.found.Sessions += count.Records
		}
		return nil
	})
	return err
}

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

// What Check and Repair take and return.
type (
	// CheckOptions changes how Check reads. The zero value is ready to use.
	CheckOptions = pebble.CheckOptions
	// CheckReport is what Check found.
	CheckReport = pebble.CheckReport
	// Problem is one thing that is wrong with a folder. It names no session.
	Problem = pebble.Problem
	// DatabaseSessions is how many sessions a database has.
	DatabaseSessions = pebble.DatabaseSessions
)

// Check reads the whole folder dir, of a Store that is not open or of a backup, which it does
// not change, and says what is damaged. Damage is no error: an error says that it could not look.
func Check(ctx context.Context, dir string, options CheckOptions) (CheckReport, error) {
	if err := paths.Absolute(&dir); err != nil {
		return CheckReport{}, err
	}
	return pebble.Check(ctx, dir, options)
}

// What Repair takes and returns, beside a Problem.
type (
	// RepairOptions changes how Repair works. The zero value is ready to use.
	RepairOptions = pebble.RepairOptions
	// RepairReport says what Repair saved and what it gave up.
	RepairReport = pebble.RepairReport
	// RepairedDatabase is how much of a database was saved.
	RepairedDatabase = pebble.RepairedDatabase
)

// ErrManifest is returned by Repair if nobody knows any more which files of the folder are
// in use: see pebble.ErrManifest.
var ErrManifest = pebble.ErrManifest

// Repair saves what can be read of the folder dir, which it does not change and which no
// Store may have open, into a new one, which must be absent or empty. It gives up rather
// than bring back a session that was ended: see pebble.Repair.
func Repair(ctx context.Context, dir, to string, options RepairOptions) (RepairReport, error) {
	if err := paths.Absolute(&dir, &to); err != nil {
		return RepairReport{}, err
	}
	return pebble.Repair(ctx, dir, to, options)
}
