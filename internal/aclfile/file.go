// Package aclfile keeps the users of a server in a file, in the format of Redis' aclfile. A file
// is replaced as a whole, so that there is always one, and only its owner can read it.
package aclfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Path is the path of a file of users.
type Path string

// Name returns the path.
func (p Path) Name() string { return string(p) }

// Load returns the lines of the file.
func (p Path) Load() ([]string, error) {
	text, err := os.ReadFile(string(p))
	if err != nil {
		var of *fs.PathError
		if errors.As(err, &of) {
			err = of.Err // the name is in the message already
		}
		return nil, err
	}
	return strings.Split(string(text), "\n"), nil
}

// Save writes a new file beside the old one and renames it, so that there is always one of
// them, whole. Others cannot read it, because it holds hashes of passwords. Save refuses to
// replace a link: whoever manages the file that it leads to would not notice.
func (p Path) Save(lines []string) error {
	if info, err := os.Lstat(string(p)); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("save %s: it is no regular file and would be replaced by one: give the path of the file itself", p)
	}
	dir := filepath.Dir(string(p))
	temp, err := os.CreateTemp(dir, filepath.Base(string(p))+".*.new") // its mode is 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // it is gone when all went well
	_, err = temp.WriteString(strings.Join(lines, "\n") + "\n")
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), string(p))
	}
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return fmt.Errorf("save %s: %w", p, err)
	}
	return nil
}
