package pebble

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

// problem is something that is wrong with a file of a store.
type problem struct {
	file string // its name; with a star for one that is missing and could have one of many
	what string
}

func (p problem) String() string { return p.file + " " + p.what }

// damageError is the error of Open for a store that has problems.
func damageError(dir string, problems []problem) error {
	more := ""
	if n := len(problems) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("%w: %v%s: %s", layout.ErrDamaged, problems[0], more, advice(dir))
}

func advice(dir string) string {
	return fmt.Sprintf("run `sessiond check --dir %s`, then `sessiond repair` or restore a backup", dir)
}

// openError explains why the store in dir could not be opened or read for the first time.
func openError(dir string, err error) error {
	var path *fs.PathError
	switch info := pebbledb.ExtractDataCorruptionInfo(err); {
	case info != nil:
		return damageError(dir, []problem{tableProblem(info)})
	case errors.Is(err, layout.ErrDamaged):
		return fmt.Errorf("%w: %s", err, advice(dir))
	case errors.Is(err, fs.ErrNotExist) && errors.As(err, &path):
		return damageError(dir, []problem{{filepath.Base(path.Path), "is missing"}})
	case errors.Is(err, fs.ErrNotExist), pebbledb.IsCorruptionError(err), errors.Is(err, pebbledb.ErrDBNotPristine):
		return fmt.Errorf("%w: %w: %s", layout.ErrDamaged, err, advice(dir))
	}
	return err
}

// readError explains an error that Pebble returned in doing something.
func readError(doing string, err error) error {
	var table *tableDamage
	switch info := pebbledb.ExtractDataCorruptionInfo(err); {
	case errors.As(err, &table):
		return fmt.Errorf("%s: %w", doing, table)
	case info != nil:
		return fmt.Errorf("%s: %w: %v", doing, layout.ErrDamaged, tableProblem(info))
	case pebbledb.IsCorruptionError(err):
		return fmt.Errorf("%s: %w: %w", doing, layout.ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// isDamage reports whether an error of Pebble's says that a file is damaged.
func isDamage(err error) bool {
	return errors.Is(err, layout.ErrDamaged) || pebbledb.IsCorruptionError(err)
}

// tableProblem leaves out the bounds of the damage: they are names of sessions.
func tableProblem(info *pebbledb.DataCorruptionInfo) problem {
	return problem{filepath.Base(info.Path), "is damaged: " + info.Details.Error()}
}

// damageLog tells of each damaged table once, however often it is met.
type damageLog struct {
	logger *slog.Logger
	dir    string

	mu   sync.Mutex
	told map[string]bool
}

// newDamageLog returns what tells logger of damage in the folder dir.
func newDamageLog(logger *slog.Logger, dir string) *damageLog {
	return &damageLog{logger: logger, dir: dir, told: map[string]bool{}}
}

func (l *damageLog) tell(p problem) {
	l.mu.Lock()
	known := l.told[p.file]
	l.told[p.file] = true
	l.mu.Unlock()
	if !known {
		l.logger.Error("a file of the store is damaged: the sessions in it cannot be read or changed, and others can",
			"file", p.file, "err", p.what, "do", advice(l.dir))
	}
}

// fileProblem is a problem as an error.
type fileProblem struct{ problem }

// newFileProblem returns the error that something is wrong with a file of a store.
func newFileProblem(file, what string) error { return &fileProblem{problem{file, what}} }

func (p *fileProblem) Error() string { return fmt.Sprintf("%v: %v", layout.ErrDamaged, p.problem) }

func (p *fileProblem) Unwrap() error { return layout.ErrDamaged }
