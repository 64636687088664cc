package main

import (
	"errors"
	"os"
	"strings"

	"github.com/spf13/pflag"
)

// nearest returns the word that was most likely meant, or "" if none is near. About one letter in three
// may be wrong, missing, superfluous or swapped. The beginning of exactly one word is near, too.
func nearest(typed string, words []string) string {
	typed = strings.ToLower(typed)
	best, least := "", min(len(typed)/3, 3)+1
	var begun []string
	for _, word := range words {
		if d := distance(typed, word); d < least {
			best, least = word, d
		}
		if len(typed) >= 3 && strings.HasPrefix(word, typed) {
			begun = append(begun, word)
		}
	}
	if best == "" && len(begun) == 1 {
		best = begun[0]
	}
	return best
}

// distance returns the optimal string alignment distance of a and b: how many letters must be inserted,
// deleted, replaced or swapped with a neighbour to turn a into b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1) // rows[i][j] is the distance of a[:i] and b[:j]
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// flagNames returns the names of all flags, those that --help leaves out included.
func flagNames(set *pflag.FlagSet) (names []string) {
	set.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}

// flagError returns the error for a command line that pflag has refused.
func flagError(set *pflag.FlagSet, err error) error {
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		return invalid("--"+value.GetFlag().Name, value)
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		if letters := unknown.GetSpecifiedShortnames(); letters != "" {
			name, _, _ = strings.Cut(letters, "=") // one dash too few: -port
		}
		if near := nearest(name, flagNames(set)); near != "" {
			return usagef("%w: did you mean --%s?", err, near)
		}
	}
	return usageError{err}
}

// unexpected returns the error for a word that is neither a flag nor the value of one.
func unexpected(word string) error {
	names := []string{"help", "version"}
	for _, t := range tools() {
		names = append(names, t.name)
	}
	near := nearest(word, names)
	_, err := os.Stat(word)
	switch {
	case near == word:
		return usagef("unexpected argument %q: a tool comes first, before all flags: sessiond %s [flags]", word, word)
	case near != "":
		return usagef("unexpected argument %q: there is no such tool, did you mean %s?", word, near)
	case err == nil || word == "-" || strings.ContainsAny(word, `/\`) || strings.HasSuffix(word, ".conf"):
		return usagef("unexpected argument %q: sessiond reads no configuration file; give its directives as flags "+
			"(--port 6379) or variables (SESSIOND_PORT=6379), see sessiond --help", word)
	}
	return usagef("unexpected argument %q: there is no such tool, see sessiond --help", word)
}
