package main

import (
	"os"
	"path/filepath"
)

// fromHere returns the path of a socket below the working folder as seen from there, and any
// other as it is: it may have about a hundred bytes.
func fromHere(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if below, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(below) {
		return socketPath(below)
	}
	return path
}
