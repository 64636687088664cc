package sessiond

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/sessiond/sessiond/internal/paths"
	"github.com/sessiond/sessiond/storage"
	"github.com/sessiond/sessiond/storage/pebble"
	"github.com/sessiond/sessiond/storage/pebble/backup"
	"github.com/sessiond/sessiond/storage/pebble/repair"
	"github.com/sessiond/sessiond/ttl"
)

// Found is what Open found.
type Found struct {
	// Dir is the folder as an absolute path: a relative one, given from another working
	// folder, leads to another store.
	Dir string
	// New says that there was no store in Dir, so that Open created one.
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

// BackupReport describes a copy that Backup made or Restore brought back. A server sends it to
// sessiond backup as JSON, so the names of its fields must stay.
type BackupReport struct {
	// Made is the instant of the copy. The copy holds every change that was acknowledged before that,
	// and perhaps a few later ones; if it holds a change it holds all changes before it.
	Made ttl.Instant
	// Records is the number of sessions by database, without the empty ones. Restore counts
	// those of the copy, Backup those that the Store had when the copying began.
	Records map[int]int64
	// Bytes is the size of the copy, and Copied is how many of them had to be written. The
	// rest is shared with the Store or with the earlier copy.
	Bytes, Copied int64
}

// BackupOptions changes how Backup works. The zero value is ready to use.
type BackupOptions struct {
	// Progress is called with the bytes that the copy has so far, shared ones included, and
	// with those it will have. One goroutine calls it. At the end both are equal. Nil does
	// nothing.
	Progress func(done, total int64)
}

// RestoreOptions changes how Restore works. The zero value is ready to use.
type RestoreOptions struct {
	// Progress is called with the bytes copied so far and with their total, and then, beginning
	// at 0 again, with those of the copy that were read, as by Check. Nil does nothing.
	Progress func(done, total int64)
}

// Errors of Backup and Restore to compare with errors.Is.
var (
	// ErrIncomplete is returned by Restore when the folder holds no complete backup.
	ErrIncomplete = backup.ErrIncomplete
	// ErrNoStore is returned by Backup when there is nothing to copy.
	ErrNoStore = pebble.ErrNoStore
)

// Backup copies the sessions, as they are at one instant, into the folder to, which must be
// absent or empty or hold an earlier backup: that one is replaced when the new one is
// complete, and not before. The Store goes on working meanwhile. Files that the earlier
// backup has already are not copied again. On the file system of the Store nearly nothing is copied:
// there the backup shares most of its files with the Store, so it protects from mistakes, but not from
// the loss of the disk.
//
// One backup is made at a time; others wait. Close and the end of ctx call it off.
func (s *Store) Backup(ctx context.Context, to string, options BackupOptions) (BackupReport, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if s.closed {
		return BackupReport{}, ErrClosed
	}
	engine, ok := s.engine.(*pebble.Engine)
	if !ok {
		return BackupReport{}, errors.New("this store is backed up by other means")
	}
	if err := paths.Absolute(&to); err != nil {
		return BackupReport{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.open, cancel)()
	report, err := backup.Make(ctx, engine, to, backup.Options(options))
	if err != nil {
		return BackupReport{}, err
	}
	s.options.Logger.Info("a backup was made", "dir", to, "bytes", report.Bytes, "copied", report.Copied)
	return BackupReport(report), nil
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
func Backup(ctx context.Context, dir, to string, options Options, making BackupOptions) (BackupReport, error) {
	if err := paths.Absolute(&dir, &to); err != nil {
		return BackupReport{}, err
	}
	report, err := backup.MakeClosed(ctx, dir, to, pebble.Options{
		Clock: options.Clock, Logger: options.Logger, OnFailure: options.OnFailure,
	}, backup.Options(making))
	return BackupReport(report), err
}

// Restore copies the backup in the folder from into the folder dir, for Open. It does not change the
// backup. The folder dir must be absent or empty. Restore reads the whole copy and returns an error if
// it is damaged.
// Sessions that were ended after the instant of the backup are back, until their deadlines.
//
// Until Restore returns, Open refuses dir. A Restore that was interrupted can be started again.
func Restore(ctx context.Context, from, dir string, options RestoreOptions) (BackupReport, error) {
	if err := paths.Absolute(&from, &dir); err != nil {
		return BackupReport{}, err
	}
	report, err := backup.Restore(ctx, from, dir, backup.RestoreOptions{Progress: options.Progress})
	return BackupReport(report), err
}

// CheckOptions changes how Check reads. The zero value is ready to use.
type CheckOptions struct {
	// Progress is called from time to time, by one goroutine after the other, with the bytes
	// that were read so far and with their total. The total is an estimate; at the end both are
	// equal. Nil does nothing.
	Progress func(done, total int64)
}

// CheckReport is what Check found.
type CheckReport struct {
	// Made is the instant of the backup that was checked, ttl.Never if it was a store.
	Made ttl.Instant
	// Databases are those that have sessions, in order.
	Databases []DatabaseSessions
	// Tables is the number of files with sessions, and Bytes is their size.
	Tables int
	Bytes  int64
	// Changes is the number of changes that the log has and the tables do not have yet.
	// LogBytes is the size of the log that holds them.
	Changes  int
	LogBytes int64
	// Problems are the first hundred of each kind, and then a line that counts the others.
	Problems []Problem
	// Damage is the number of problems, those that are only counted among them.
	Damage int
}

// DatabaseSessions is how many sessions a database has. Those whose deadline has passed and
// which are not removed yet are among them.
type DatabaseSessions struct {
	Database int
	Sessions int64
}

// Problem is one thing that is wrong with a folder. It names no session: a record appears by its
// database and the position that the hash of its key gives it, in hex.
type Problem struct {
	Where  string // the file, or the kind of record and its position
	What   string // what is wrong with it and what that means
	Advice string // what to do
}

// String returns the problem as one line.
func (p Problem) String() string { return repair.Problem(p).String() }

// Check reads a whole folder, of a Store that is not open or of a backup, and reports what is damaged.
// It does not change the folder. Damage is not an error: an error means that Check could not read.
func Check(ctx context.Context, dir string, options CheckOptions) (CheckReport, error) {
	if err := paths.Absolute(&dir); err != nil {
		return CheckReport{}, err
	}
	report, err := backup.Check(ctx, dir, repair.CheckOptions{Progress: options.Progress})
	return checkReport(report), err
}

// RepairOptions changes how Repair works. The zero value is ready to use.
type RepairOptions struct {
	// Progress is called as CheckOptions.Progress is, first for the reading of the old folder
	// and then, beginning at 0 again, for the check of the new one.
	Progress func(done, total int64)
	// Logger receives what goes wrong with the new folder. Nil means slog.Default.
	Logger *slog.Logger
}

// RepairReport says what Repair saved and what it gave up.
type RepairReport struct {
	// Databases are those that had sessions, or have, in order.
	Databases []RepairedDatabase
	// GivenUp is what could not be saved: the first hundred of each kind, and a line that
	// counts the others. If it is empty the new folder has everything.
	GivenUp []Problem
	// Renewed are the parts that were wrong and were built again from the sessions.
	Renewed []string
	// Halves is the number of sessions that were given up although a part of them could be
	// read.
	Halves int64
}

// RepairedDatabase is how much of a database was saved.
type RepairedDatabase struct {
	Database int
	Saved    int64 // sessions that the new folder has
	Counted  int64 // sessions by the counter of the old folder, -1 if it cannot be read
}

// ErrManifest is returned by Repair if the list of the files in use, Pebble's MANIFEST, is lost.
// Without it, sessions that have ended cannot be told from others, and saving them would log people in
// again. It wraps ErrDamaged.
var ErrManifest = repair.ErrManifest

// Repair saves what can be read of the folder dir into the new folder to. It does not change dir, which
// no Store may have open. The folder to must be absent or empty. At the end Repair checks it.
//
// A session is saved with its value and its deadline, or not at all. Where something cannot be
// read, Repair uses nothing older in its place: no session that was ended comes back, unless
// the end itself was in a damaged part of the log; the report says so. After an error Open refuses the
// new folder.
func Repair(ctx context.Context, dir, to string, options RepairOptions) (RepairReport, error) {
	if err := paths.Absolute(&dir, &to); err != nil {
		return RepairReport{}, err
	}
	report, err := repair.Repair(ctx, dir, to, repair.RepairOptions{Progress: options.Progress, Logger: options.Logger})
	return repairReport(report), err
}

// checkReport converts what the engine's Check returns.
func checkReport(r repair.CheckReport) CheckReport {
	return CheckReport{
		Made:      r.Made,
		Databases: convert(r.Databases, func(d repair.DatabaseSessions) DatabaseSessions { return DatabaseSessions(d) }),
		Tables:    r.Tables,
		Bytes:     r.Bytes,
		Changes:   r.Changes,
		LogBytes:  r.LogBytes,
		Problems:  convert(r.Problems, problem),
		Damage:    r.Damage,
	}
}

// repairReport converts what the engine's Repair returns.
func repairReport(r repair.RepairReport) RepairReport {
	return RepairReport{
		Databases: convert(r.Databases, func(d repair.RepairedDatabase) RepairedDatabase { return RepairedDatabase(d) }),
		GivenUp:   convert(r.GivenUp, problem),
		Renewed:   r.Renewed,
		Halves:    r.Halves,
	}
}

func problem(p repair.Problem) Problem { return Problem(p) }

// convert returns the list with each element converted by one. A nil list stays nil.
func convert[From, To any](list []From, one func(From) To) []To {
	if list == nil {
		return nil
	}
	converted := make([]To, len(list))
	for i, element := range list {
		converted[i] = one(element)
	}
	return converted
}
