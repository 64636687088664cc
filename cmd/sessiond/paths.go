package main

import (
	"os"
	"path/filepath"
)

// fromHere returns the path of a socket relative to the working folder if it is below it, because a
// socket's path may have only about a hundred bytes. It returns any other path unchanged.
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
