// Package pebblefile reads what Pebble wrote to its own files, as far as Pebble does not look itself
// before it trusts them: the list of tables (MANIFEST), the sizes and the checksums of tables. It
// says what is wrong with a store as problems, each of one file, and turns errors of Pebble's into
// them. It changes nothing.
package pebblefile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	pebbledb "github.com/cockroachdb/pebble/v2"

	"github.com/sessiond/sessiond/storage/pebble/internal/layout"
)

// Problem is something that is wrong with a file of a store.
type Problem struct {
	File string // its name; with a star for one that is missing and could have one of many
	What string
}

func (p Problem) String() string { return p.File + " " + p.What }

// DamageError is the error of Open for a store that has problems.
func DamageError(dir string, problems []Problem) error {
	more := ""
	if n := len(problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%w: %v%s: %s", layout.ErrDamaged, problems[0], more, advice(dir))
}

func advice(dir string) string {
	return fmt.Sprintf("run `sessiond check --dir %s`, then `sessiond repair` or restore a backup", dir)
}

// OpenError explains why the store in dir could not be opened or read for the first time.
func OpenError(dir string, err error) error {
	var path *fs.PathError
	switch info := pebbledb.ExtractDataCorruptionInfo(err); {
	case info != nil:
		return DamageError(dir, []Problem{TableProblem(info)})
	case errors.Is(err, layout.ErrDamaged):
		return fmt.Errorf("%w: %s", err, advice(dir))
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &path):
		return DamageError(dir, []Problem{{filepath.Base(path.Path), "is missing"}})
	case errors.Is(err, fs.ErrNotExist), pebbledb.IsCorruptionError(err), errors.Is(err, pebbledb.ErrDBNotPristine):
		return fmt.Errorf("%w: %w: %s", layout.ErrDamaged, err, advice(dir))
	}
	return err
}

// ReadError explains an error that Pebble returned in doing something.
func ReadError(doing string, err error) error {
	var table *tableDamage
	switch info := pebbledb.ExtractDataCorruptionInfo(err); {
	case errors.As(err, &table):
		return fmt.Errorf("%s: %w", doing, table)
	case info != nil:
		return fmt.Errorf("%s: %w: %v", doing, layout.ErrDamaged, TableProblem(info))
	case pebbledb.IsCorruptionError(err):
		return fmt.Errorf("%s: %w: %w", doing, layout.ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// IsDamage reports whether an error of Pebble's says that a file is damaged.
func IsDamage(err error) bool {
	return errors.Is(err, layout.ErrDamaged) || pebbledb.IsCorruptionError(err)
}

// TableProblem leaves out the bounds of the damage: they are names of sessions.
func TableProblem(info *pebbledb.DataCorruptionInfo) Problem {
	return Problem{filepath.Base(info.Path), "is damaged: " + info.Details.Error()}
}

// DamageLog tells of each damaged table once, however often it is met.
type DamageLog struct {
	Logger *slog.Logger
	dir    string

	mu   sync.Mutex
	told map[string]bool
}

// NewDamageLog returns what tells logger of damage in the folder dir.
func NewDamageLog(logger *slog.Logger, dir string) *DamageLog {
	return &DamageLog{Logger: logger, dir: dir, told: map[string]bool{}}
}

func (l *DamageLog) Tell(p Problem) {
	l.mu.Lock()
	known := l.told[p.File]
	l.told[p.File] = true
	l.mu.Unlock()
	if !known {
		l.Logger.Error("a file of the store is damaged: the sessions in it cannot be read or changed, and others can",
			"file", p.File, "err", p.What, "do", advice(l.dir))
	}
}

// ProblemError is a problem as an error.
type ProblemError struct{ Problem }

// NewProblemError returns the error that something is wrong with a file of a store.
func NewProblemError(file, what string) error { return &ProblemError{Problem{file, what}} }

func (p *ProblemError) Error() string { return fmt.Sprintf("%v: %v", layout.ErrDamaged, p.Problem) }

func (p *ProblemError) Unwrap() error { return layout.ErrDamaged }
