//go:build unix

package aclfile

import (
	"errors"
	"os"
)

// syncFolder makes the name of a file just renamed survive a power cut.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
