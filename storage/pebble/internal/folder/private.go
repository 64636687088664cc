package folder

import (
	"errors"
	"log/slog"
	"os"
)

// CloseToOthers takes from other users of the machine what they may do with the files of the
// store, which somebody may have copied there or made with another umask. The folder it leaves
// as it is, since it may be shared on purpose; but it says so. On a file system without modes
// nothing can be taken from anybody, and that is no reason not to serve.
func CloseToOthers(dir string, logger *slog.Logger) {
	if IsExposed(dir) {
		logger.Warn("other users of the machine can enter the data folder: take that from them with chmod 700", "dir", dir)
	}
	if err := closeFiles(dir); err != nil {
		logger.Warn("other users of the machine may read files of the store: make the user of sessiond their owner with chown", "dir", dir, "err", err)
	}
}

// IsExposed reports whether others than its owner may enter a folder.
func IsExposed(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && othersMayEnter(info.Mode())
}

func closeFiles(dir string) (err error) {
	root, err := os.OpenRoot(dir) // nothing in it leads out
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	names, err := SystemFS.List(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if !isOwn(name) {
			continue
		}
		info, err := root.Lstat(name)
		if err == nil && othersMay(info.Mode()) {
			err = root.Chmod(name, fileMode)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
